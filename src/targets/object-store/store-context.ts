/** What everything that is done on a store shares. */

import type { ClockReading } from '../../repository/elapsed.js';
import type { RunJob } from '../../storage/job.js';
import type { TreeRoots } from '../../storage/tree-paths.js';
import type { Budget } from '../memory-budget.js';
import type { ObjectStore } from './object-store.js';
import type { StoreMemory } from './read-current.js';

export interface StoreContext {
  readonly store: ObjectStore;
  /** Where the content of drops lies. */
  readonly roots: TreeRoots;
  readonly run: RunJob;
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
