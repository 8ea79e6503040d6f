/** The look at the inbox: its rooms, and what the formats say of directories. */
import type { Disk } from '../disk/disk.js';
import { type ScanRequest, type ScanResult, scanInbox } from '../inbox/scan.js';
import { recogniseDirectory } from '../readers/formats.js';

export function scan(disk: Disk, request: ScanRequest): ScanResult {
  return scanInbox(disk, request, (entries) => recogniseDirectory(entries) !== undefined);
}
