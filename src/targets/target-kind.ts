/** A kind of target: creates targets and sources of the registry endpoint from their settings. */

import type { RepositoryId } from '../image/names.js';
import type { HealthOptions } from '../metrics/health.js';
import type { Events } from '../publisher/events.js';
import type { Target } from '../publisher/target.js';
import type { Source } from '../registry/source.js';
import type { ClockReading } from '../repository/elapsed.js';
import type { SnapshotText } from '../repository/snapshot-file.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { Settings } from '../settings/schema.js';
import type { RunJob } from '../storage/job.js';
import type { TransactionNames } from '../storage/transaction.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import type { Budget } from './memory-budget.js';

/** Services that targets share with the rest of the process. Clocks are called each time: tests set them. */
export interface TargetServices {
  readonly roots: TreeRoots;
  readonly owner: { readonly token: string };
  readonly owners: { isDead(owner: string): boolean };
  readonly run: RunJob;
  readonly transactions: TransactionNames;
  readonly nowMs: () => number;
  readonly monotonicMs: () => number;
  readonly clock: () => ClockReading;
  readonly events: Events;
}

/** A flip that is about to happen. */
export interface PendingFlip {
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
}

/** Saves what it must do after a flip before the flip happens, so that a crash in between loses nothing. */
export interface FlipObserver {
  /**
   * Must not throw.
   * @returns a function to call when the flip is in the history, or did not happen; must not throw either
   */
  beforeFlip(flip: PendingFlip): Promise<() => Promise<void>>;
}

export interface TargetContext {
  /** Returns the current settings: targets outlive a reload. */
  readonly settings: () => Settings;
  readonly services: TargetServices;
  readonly observer: FlipObserver | undefined;
  /** Limits the memory for transfers to all targets together. */
  readonly budget: Budget;
  /** Called with the current snapshot after each publish to a target that is not a directory of this host. */
  readonly onPublished: (target: string, id: RepositoryId, current: SnapshotText) => Promise<void>;
}

export interface OpenTarget {
  readonly target: Target;
  close(): Promise<void>;
}

export interface SourceOptions {
  readonly settings: Settings;
  readonly roots: TreeRoots;
  readonly run: RunJob;
  /**
   * Called with the error when the source becomes unavailable, and with undefined when it is available again.
   */
  readonly onAway: (trouble: Error | undefined) => void;
}

export interface OpenSource {
  readonly source: Source;
  close(): void;
}

/** Where blobs are redirected to; `url` as in registry.blobsUrl, undefined for signed URLs. */
export interface BlobPlace {
  readonly url: string | undefined;
}

/** @typeParam Own the settings of one target of this kind */
export interface TargetKind<Own> {
  /** Does not connect yet: an unavailable target is opened when it is available again. */
  openTarget(name: string, own: Own, context: TargetContext): OpenTarget;
  openSource(name: string, own: Own, options: SourceOptions): Promise<OpenSource>;
  /** Undefined if redirects require registry.blobsUrl. */
  blobPlace(own: Own): BlobPlace | undefined;
  /** Paths on this host that a process that only serves needs. */
  readPlaces(settings: Settings): HealthOptions['places'];
}
