/** A look at the inbox: every thirty seconds and at every event, so it loads little. */
import type { Disk } from '../disk/disk.js';
import { type ScanRequest, type ScanResult, scanInbox } from '../inbox/scan.js';
import { recogniseDirectory, savedDirectories } from '../readers/format.js';

export function scan(disk: Disk, request: ScanRequest): ScanResult {
  const isImage = (entries: Parameters<typeof recogniseDirectory>[0]) =>
    recogniseDirectory(entries) !== undefined;
  return scanInbox(disk, request, isImage, savedDirectories);
}
