/** What everything that is done on a store shares. */
import type { RunJob } from '../disk/hands.js';
import type { PublishJobs } from '../publish/jobs.js';
import type { TreeRoots } from '../publish/paths.js';
import type { ClockReading } from '../snapshot/elapsed.js';
import type { Budget } from './budget.js';
import type { StoreMemory } from './current.js';
import type { ObjectJobs } from './jobs.js';
import type { ObjectStore } from './store.js';

export interface StoreContext {
  readonly store: ObjectStore;
  /** Where the content of drops lies. */
  readonly roots: TreeRoots;
  readonly run: RunJob<ObjectJobs & PublishJobs>;
  readonly memory: StoreMemory;
  /** Of what is on its way to any store of this process. */
  readonly budget: Budget;
  /** The store keeps no conditions; nobody else publishes to it. */
  readonly isSingleWriter: boolean;
  /** The longest a publish, and a cleaning, may take (ms). See deleting.ts. */
  readonly longestMs: number;
  readonly nowMs: () => number;
  /** A clock that is never set. */
  readonly monotonicMs: () => number;
  /** Such a clock, whose readings other processes can compare with theirs. */
  readonly clock: () => ClockReading;
}
