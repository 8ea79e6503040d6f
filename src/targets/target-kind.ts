/** What a kind of target is: it makes targets, and sources for the registry endpoint, from their settings. */

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

/** What targets share with the rest of the process. Clocks are asked each time: tests set them. */
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

/** Writes down what it owes for a flip before it happens, so that a crash in between loses nothing. */
export interface FlipObserver {
  /** Must not throw. @returns called when the flip is in the history, or did not happen; must not throw either */
  beforeFlip(flip: PendingFlip): Promise<() => Promise<void>>;
}

export interface TargetContext {
  /** As they are now: targets outlive a reload. */
  readonly settings: () => Settings;
  readonly services: TargetServices;
  readonly observer: FlipObserver | undefined;
  /** Of bytes in memory on their way to all targets together. */
  readonly budget: Budget;
  /** Told of what is current after each publish to a target that is no directory of this host. */
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
  /** Told when what it reads cannot be reached, and with undefined when it is back. */
  readonly onAway: (trouble: Error | undefined) => void;
}

export interface OpenSource {
  readonly source: Source;
  close(): void;
}

/** Where clients can be sent for blobs; `url` as in registry.blobsUrl, undefined for signed URLs. */
export interface BlobPlace {
  readonly url: string | undefined;
}

/** @typeParam Own the settings of one target of this kind */
export interface TargetKind<Own> {
  /** Reaches for nothing yet: a target that is away is opened when it is back. */
  openTarget(name: string, own: Own, context: TargetContext): OpenTarget;
  openSource(name: string, own: Own, options: SourceOptions): Promise<OpenSource>;
  /** Undefined where clients can be sent nowhere unless registry.blobsUrl says where. */
  blobPlace(own: Own): BlobPlace | undefined;
  /** The places of this host that a process which only serves cannot do without. */
  readPlaces(settings: Settings): HealthOptions['places'];
}
