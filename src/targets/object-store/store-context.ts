/** The values that all operations on a store share. */

import type { ClockReading } from '../../repository/elapsed.js';
import type { RunJob } from '../../storage/job.js';
import type { TreeRoots } from '../../storage/tree-paths.js';
import type { Budget } from '../memory-budget.js';
import type { ObjectStore } from './object-store.js';
import type { StoreMemory } from './read-current.js';

export interface StoreContext {
  readonly store: ObjectStore;
  /** The content store. */
  readonly roots: TreeRoots;
  readonly run: RunJob;
  readonly memory: StoreMemory;
  /** Memory budget for transfers to all stores of this process. */
  readonly budget: Budget;
  /** The store does not support conditions; this is its only publisher. */
  readonly isSingleWriter: boolean;
  /** Time limit of a publish and of a cleaning (ms). See delete-unused.ts. */
  readonly longestMs: number;
  readonly nowMs: () => number;
  /** Monotonic clock. */
  readonly monotonicMs: () => number;
  /** Monotonic clock whose readings can be compared between processes. */
  readonly clock: () => ClockReading;
}
