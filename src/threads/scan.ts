/** A look at the inbox: every thirty seconds and at every event, so it loads little. */
import type { Disk } from '../disk/disk.js';
import { type ScanRequest, type ScanResult, scanInbox } from '../inbox/scan.js';
import { recogniseDirectory } from '../readers/format.js';

export function scan(disk: Disk, request: ScanRequest): ScanResult {
  return scanInbox(disk, request, (entries) => recogniseDirectory(entries) !== undefined);
}
