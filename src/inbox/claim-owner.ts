/** The owner of a claimed drop, for the history: users cannot give files to others, so it tells who dropped it. */
import type { Disk } from '../storage/disk.js';
import { job } from '../storage/job.js';
import { type Claim, claimPath } from './inbox-paths.js';

/** Returns the uid; undefined when the claim is gone or cannot be read. It must not prevent the publish. */
export const claimUid = job(
  'fast',
  import.meta.url,
  function claimUid(
    disk: Disk,
    { inbox, claim }: { readonly inbox: string; readonly claim: Claim },
  ): number | undefined {
    // A copy belongs to the daemon.
    if (claim.uid !== undefined) return claim.uid;
    try {
      return disk.statIfThere(claimPath(inbox, claim))?.uid;
    } catch {
      return undefined;
    }
  },
);
