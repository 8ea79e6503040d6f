/**
 * The scan job, which runs every thirty seconds and at every event. It imports little, so that it loads fast.
 */

import { recogniseDirectory, savedDirectories } from '../formats/format.js';
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { type ScanRequest, type ScanResult, scanInbox } from './scan.js';

export const scan = job(
  'fast',
  import.meta.url,
  function scan(disk: Disk, request: ScanRequest): ScanResult {
    const isImage = (entries: Parameters<typeof recogniseDirectory>[0]) =>
      recogniseDirectory(entries) !== undefined;
    return scanInbox(disk, request, isImage, savedDirectories);
  },
);
