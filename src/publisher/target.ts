/**
 * Where repositories are published to. One interface; `targets/directory/directory-target.ts` and
 * `targets/object-store/object-store-target.ts` implement it, and test/support/target-conformance.ts says what it promises.
 */

import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { LeftOut, StagedContent } from '../image/staged-content.js';
import type { TagMove } from '../repository/merge.js';
import type { Change, DropToMerge, Edit, RepositoryPolicy } from '../repository/next-state.js';
import type { SnapshotVerdict } from '../repository/retention.js';
import type { SnapshotReason, SnapshotText } from '../repository/snapshot-file.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { Ingested } from '../storage/stored.js';

/** A drop, or the part of a bundle that is one repository's: verified, stored, and not published yet. */
export interface StagedDrop extends DropToMerge {
  /** Where it lies on this host; a directory does not publish a drop that is gone. Undefined for content of no drop. */
  readonly path: string | undefined;
  /** How its blobs came into the content store. */
  readonly ingested: Readonly<Record<Ingested, number>>;
}

export type TargetChange = Change<StagedDrop>;
export type { Edit, RepositoryPolicy };

/** What became of one drop of a publish. */
export type DropOutcome =
  | PublishedOutcome
  | { readonly status: 'rejected'; readonly error: Error }
  /** Nothing is lost: the same drop is to be published again later. */
  | { readonly status: 'retry'; readonly error: Error };

export interface PublishedOutcome {
  readonly status: 'published' | 'unchanged';
  readonly snapshot: Timestamp | null;
  readonly base: Timestamp | null;
  readonly moves: readonly TagMove[];
  readonly content: StagedContent;
  readonly ingested: Readonly<Record<Ingested, number>>;
  readonly leftOut: readonly LeftOut[];
}

export interface PublishResult {
  /** Of a publish, in the order of its drops. */
  readonly outcomes: readonly DropOutcome[];
  /** The new snapshot; null where clients see no difference. */
  readonly snapshot: Timestamp | null;
  /** What was current before. */
  readonly base: Timestamp | null;
  readonly moves: readonly TagMove[];
  /** The snapshot that a rollback restored. */
  readonly to: Timestamp | undefined;
  /** Stale snapshots that were removed afterwards. */
  readonly removed: readonly Timestamp[];
  /** What a crash had left undone and this visit has done, in words. */
  readonly repaired: readonly string[];
  /** What could not be done after the flip; the next visit does it (I4). */
  readonly later: readonly Error[];
}

/** How a publish waits for another publisher of the same repository. */
export interface Waiting {
  /** Milliseconds; the settings' where it is left out. */
  readonly waitMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
  /** Called once when it takes long. */
  readonly onBusy?: () => void;
}

export interface CurrentSnapshot {
  readonly repository: RepositoryName;
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
  /** It was removed: only running pulls are still served. */
  readonly removed: boolean;
  readonly tags: ReadonlyMap<Tag, Digest>;
}

/** One flip. */
export interface HistoryEntry extends Omit<SnapshotReason, 'why'> {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  readonly why: SnapshotReason['why'] | 'recovered';
  /** Whether the snapshot can still be rolled back to. */
  readonly kept: boolean;
  readonly current: boolean;
}

/** What `status` tells of one repository. Which of the optional fields there are depends on the kind of target. */
export interface RepositoryOverview {
  readonly repository: string;
  readonly id: string;
  readonly snapshot: string;
  /** It was removed: only running pulls are still served, and `rollback` brings it back. */
  readonly removed?: boolean;
  /** The tags, or only how many there are. */
  readonly tags: number | readonly { readonly tag: string; readonly digest: string }[];
  /** How many snapshots are kept. */
  readonly snapshots?: number;
  readonly manifests?: number;
  /** Bytes of all content the current snapshot serves, each digest counted once. */
  readonly bytes?: number;
  /** Bytes of all content the kept snapshots serve, each digest counted once: what others serve too, */
  readonly sharedBytes?: number;
  /** and what only this one does. */
  readonly ownBytes?: number;
  readonly base?: string | null;
  /** How many flips there were. */
  readonly generation?: number;
  /** When it became current. */
  readonly at?: string;
}

/** What a table of overviews can show. */
export type OverviewColumn =
  | 'repository'
  | 'snapshot'
  | 'age'
  | 'tags'
  | 'kept'
  | 'own'
  | 'shared'
  | 'flips'
  | 'since';

export interface TargetOverview {
  readonly repositories: readonly RepositoryOverview[];
  /** Entries in the place of a repository that dropdock did not make, or cannot read. */
  readonly strangers?: readonly { readonly id: string; readonly message: string }[];
  /** What a table of the repositories shows, from left to right. */
  readonly columns: readonly OverviewColumn[];
}

export interface VerifyFinding {
  readonly problem: 'damaged' | 'missing' | 'foreign' | 'wrong-link' | 'unreadable' | 'leftover';
  /** Below the published tree or the state, or the key of an object. */
  readonly path: string;
  readonly detail: string;
}

export interface VerifyResult {
  readonly findings: readonly VerifyFinding[];
  /** How many files, or objects, were read and hashed. */
  readonly files: number;
}

export interface VerifyReport extends VerifyResult {
  /** What `files` counts. */
  readonly unit: 'files' | 'objects';
}

/** What a failure prevented for one repository; the others are done. */
export interface NotDone {
  /** Null where it concerns no single repository. */
  readonly id: RepositoryId | null;
  readonly error: Error;
}

export interface RepairResult {
  /** What was repaired, in words. */
  readonly repaired: readonly string[];
  readonly notDone: readonly NotDone[];
}

export interface StartResult {
  /** What a crash had left undone and was done now, in words. */
  readonly recovered: readonly { readonly id: RepositoryId; readonly what: string }[];
  readonly notDone: readonly NotDone[];
  /** Why the target cannot be reached now. Every publish tries it again. */
  readonly away?: Error;
  /** Uploads of dead publishers that were aborted. */
  readonly uploads?: number;
}

export interface CleanedRepository {
  readonly id: RepositoryId;
  /** `removed`: all that is left of a repository that was removed. */
  readonly snapshots: readonly (Omit<SnapshotVerdict, 'rule'> & {
    readonly rule: SnapshotVerdict['rule'] | 'removed';
  })[];
  /** Entries among the snapshots that dropdock did not make. */
  readonly strangers?: readonly string[];
  /** How many manifests are past their grace period and go only with a new snapshot. */
  readonly overdue?: number;
  /** That new snapshot; null where none was made. */
  readonly renewed?: Timestamp | null;
  /** In a dry run: the current snapshot, where a new one would replace it and it would go at once. */
  readonly renewing?: Timestamp;
}

export interface CleanResult {
  readonly repositories: readonly CleanedRepository[];
  /** Unused content that was deleted, or would be. */
  readonly content: { readonly files: number; readonly bytes: number };
  readonly notDone: readonly NotDone[];
  /** What could not be done after the flip of a new snapshot; the next publish or clean does it (I4). */
  readonly later: readonly NotDone[];
  /** Unfinished uploads that were aborted. */
  readonly uploads?: number;
  /** Why the cleaning ended early; the next one goes on. */
  readonly stopped?: string | undefined;
}

/** A manifest or blob that a snapshot needs. */
export interface NeededContent {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Of a manifest; undefined for a blob. */
  readonly mediaType: string | undefined;
}

export interface Fetching {
  /** The transaction that holds what was fetched. */
  readonly transaction: string;
  /** Told of bytes as they come. */
  readonly onBytes: (count: number) => void;
}

/** What commands that only read use: nothing here writes anything or needs the permission to. */
export interface TargetReader {
  /** As in the settings. */
  readonly name: string;
  /** @returns the ids of all repositories, sorted; also of those that were removed and are not forgotten yet */
  repositories(): Promise<RepositoryId[]>;
  /** What clients see now; undefined where nothing was published. */
  current(id: RepositoryId): Promise<CurrentSnapshot | undefined>;
  /** Newest first; empty for a repository that is not there. */
  history(id: RepositoryId): Promise<readonly HistoryEntry[]>;
  /** @param id only this repository; none are listed where it is not there */
  overview(id?: RepositoryId): Promise<TargetOverview>;
  /**
   * Reads everything that is published again, while publishes and cleanings go on.
   * @param id only this repository
   * @returns undefined where that is not there
   */
  verify(id?: RepositoryId): Promise<VerifyReport | undefined>;
}

/** Either end of a copy. Content passes through the content store of this machine. */
export interface CopyEnd {
  /** The current snapshot's own description; undefined where nothing was published. */
  currentText(id: RepositoryId): Promise<SnapshotText | undefined>;
  /** Of the destination: what the content store must have for a copy to it. Manifests are always among it. */
  lacking(needs: readonly NeededContent[]): Promise<readonly NeededContent[]>;
  /** Of the source: brings this into the content store. @throws target.damaged, target.failed, system errors */
  fetch(needs: readonly NeededContent[], how: Fetching): Promise<void>;
  /** Of the destination: brings this there from the content store, also where the last snapshot has it. */
  send(needs: readonly NeededContent[]): Promise<void>;
}

export interface Target extends TargetReader, CopyEnd {
  /**
   * Applies a change and makes the result current in one atomic step.
   * @throws lock.busy, lock.lost, pivot.moved, target.failed, system errors: nothing a client sees has changed,
   *   try it again; repository.unknown, snapshot.unknown, tag.unknown; content errors that concern all drops
   */
  publish(
    policy: RepositoryPolicy,
    change: TargetChange,
    waiting?: Waiting,
  ): Promise<PublishResult>;
  /** Would this be taken? Changes nothing. @throws tag.immutable, manifest.ambiguous, layout.unsafe */
  check(policy: RepositoryPolicy, drop: DropToMerge): Promise<void>;
  /**
   * What is to be done when a daemon starts: completes what a crash interrupted.
   * @throws target.unfit, system errors: nothing may be published to it
   */
  start(): Promise<StartResult>;
  /** Removes stale snapshots, and content that nothing uses. */
  clean(options: { readonly dryRun: boolean }): Promise<CleanResult>;
  /** The same, for a daemon that asks again and again. @returns undefined where it is not time yet */
  cleanIfDue(): Promise<CleanResult | undefined>;
  /**
   * Repairs what `verify` finds, as far as this machine has what is needed.
   * @param id only this repository
   * @returns undefined where that is not there
   * @throws usage.invalid for a target that is repaired in another way
   */
  repair(id?: RepositoryId): Promise<RepairResult | undefined>;
}
