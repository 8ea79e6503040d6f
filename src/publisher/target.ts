/**
 * The interface of a target: where repositories are published to. `targets/directory/directory-target.ts` and
 * `targets/object-store/object-store-target.ts` implement it; test/support/target-conformance.ts tests its
 * guarantees.
 */

import { faultOf, fromPlainError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { LeftOut, StagedContent } from '../image/staged-content.js';
import type { FlipDetails } from '../repository/flip-details.js';
import type { TagMove } from '../repository/merge.js';
import type {
  Change,
  DropToMerge,
  Edit,
  MergeOutcome,
  RepositoryPolicy,
} from '../repository/next-state.js';
import type { SnapshotVerdict } from '../repository/retention.js';
import type { SnapshotReason, SnapshotText } from '../repository/snapshot-file.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { Ingested } from '../storage/stored.js';

/** A drop, or the part of a bundle for one repository: verified and stored, not yet published. */
export interface StagedDrop extends DropToMerge {
  /**
   * Its path on this host; a directory does not publish a drop that is gone. Undefined for content without a
   * drop.
   */
  readonly path: string | undefined;
  /** How its blobs got into the content store. */
  readonly ingested: Readonly<Record<Ingested, number>>;
}

export type TargetChange = Change<StagedDrop>;
export type { Edit, RepositoryPolicy };

/** The result of one drop of a publish. */
export type DropOutcome =
  | PublishedOutcome
  | { readonly status: 'rejected'; readonly error: Error }
  /** The drop is kept and must be published again later. */
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

/**
 * Returns the outcome of a drop from the result of its merge. The same for every target.
 * @param made.snapshot the new snapshot; null when clients would see no difference
 * @param made.leftOut what the merge left out of any drop
 */
export function outcomeOfMerge(
  { content, ingested }: StagedDrop,
  merged: MergeOutcome | undefined,
  made: {
    readonly snapshot: Timestamp | null;
    readonly base: Timestamp | null;
    readonly leftOut: readonly LeftOut[];
  },
): DropOutcome {
  if (merged === undefined) throw new Error('a drop has no merge outcome');
  if (!merged.ok) {
    const error = fromPlainError(merged.error);
    return { status: faultOf(error) === 'content' ? 'rejected' : 'retry', error };
  }
  const digests = new Set<string>(content.manifests.map(({ digest }) => digest));
  return {
    status: made.snapshot === null ? 'unchanged' : 'published',
    snapshot: made.snapshot ?? made.base,
    base: made.base,
    moves: merged.moves,
    content,
    ingested,
    leftOut: [...content.leftOut, ...made.leftOut.filter(({ what }) => digests.has(what))],
  };
}

export interface PublishResult {
  /** Same order as the drops of the publish. */
  readonly outcomes: readonly DropOutcome[];
  /** The new snapshot; null when clients see no difference. */
  readonly snapshot: Timestamp | null;
  /** The snapshot that was current before. */
  readonly base: Timestamp | null;
  readonly moves: readonly TagMove[];
  /** The snapshot that a rollback restored. */
  readonly to: Timestamp | undefined;
  /** Old snapshots that were removed afterwards. */
  readonly removed: readonly Timestamp[];
  /** Descriptions of interrupted work that was completed. */
  readonly repaired: readonly string[];
  /** Errors after the flip; the next publish or clean completes the work (I4). */
  readonly later: readonly Error[];
}

/** How a publish waits for another publisher of the same repository. */
export interface Waiting {
  /** Milliseconds; default from the settings. */
  readonly waitMs?: number;
  /** Aborts the wait. */
  readonly signal?: AbortSignal;
  /** Called once when the wait takes long. */
  readonly onBusy?: () => void;
}

export interface CurrentSnapshot {
  readonly repository: RepositoryName;
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
  /** The repository was removed; only running pulls are served. */
  readonly removed: boolean;
  readonly tags: ReadonlyMap<Tag, Digest>;
}

/** One flip. */
export interface HistoryEntry extends Omit<SnapshotReason, 'why'>, FlipDetails {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  readonly why: SnapshotReason['why'] | 'recovered';
  /** The snapshot is kept, so a rollback can restore it. */
  readonly kept: boolean;
  readonly current: boolean;
}

/** The overview of a repository for `status`. Which optional fields are set depends on the kind of target. */
export interface RepositoryOverview {
  readonly repository: string;
  readonly id: string;
  readonly snapshot: string;
  /** The repository was removed: only running pulls are served, and `rollback` restores it. */
  readonly removed?: boolean;
  /** The tags, or only their number. */
  readonly tags: number | readonly { readonly tag: string; readonly digest: string }[];
  /** Number of kept snapshots. */
  readonly snapshots?: number;
  readonly manifests?: number;
  /** Bytes of all content that the current snapshot serves, each digest counted once. */
  readonly bytes?: number;
  /**
   * Bytes of all content that the kept snapshots serve and other repositories serve, too; each digest counted
   * once.
   */
  readonly sharedBytes?: number;
  /** Bytes of the content that only this repository serves. */
  readonly ownBytes?: number;
  readonly base?: string | null;
  /** Number of flips. */
  readonly generation?: number;
  /** When the current snapshot became current. */
  readonly at?: string;
}

/** Columns of an overview table. */
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
  /** Entries in place of a repository that dropdock did not make or cannot read. */
  readonly strangers?: readonly { readonly id: string; readonly message: string }[];
  /** Columns of the table of repositories, from left to right. */
  readonly columns: readonly OverviewColumn[];
}

export interface VerifyFinding {
  readonly problem: 'damaged' | 'missing' | 'foreign' | 'wrong-link' | 'unreadable' | 'leftover';
  /** Relative to the published tree or the state directory, or an object key. */
  readonly path: string;
  readonly detail: string;
}

export interface VerifyResult {
  readonly findings: readonly VerifyFinding[];
  /** Number of files or objects that were read and hashed. */
  readonly files: number;
}

export interface VerifyReport extends VerifyResult {
  /** Unit of `files`. */
  readonly unit: 'files' | 'objects';
}

/** An error that concerned one repository; the others are done. */
export interface NotDone {
  /** Null when it concerns no single repository. */
  readonly id: RepositoryId | null;
  readonly error: Error;
}

export interface RepairResult {
  /** A description of each repair. */
  readonly repaired: readonly string[];
  readonly notDone: readonly NotDone[];
}

export interface StartResult {
  /** Descriptions of interrupted work that was completed. */
  readonly recovered: readonly { readonly id: RepositoryId; readonly what: string }[];
  readonly notDone: readonly NotDone[];
  /** Why the target cannot be reached. Every publish tries again. */
  readonly away?: Error;
  /** Aborted uploads of dead publishers. */
  readonly uploads?: number;
}

export interface CleanedRepository {
  readonly id: RepositoryId;
  /** `removed`: the rest of a removed repository. */
  readonly snapshots: readonly (Omit<SnapshotVerdict, 'rule'> & {
    readonly rule: SnapshotVerdict['rule'] | 'removed';
  })[];
  /** Entries among the snapshots that dropdock did not make. */
  readonly strangers?: readonly string[];
  /** Number of manifests past their grace period that only a new snapshot removes. */
  readonly overdue?: number;
  /** That new snapshot; null when none was made. */
  readonly renewed?: Timestamp | null;
  /** In a dry run: the current snapshot, when a new one would replace it and it would be removed at once. */
  readonly renewing?: Timestamp;
}

export interface CleanResult {
  readonly repositories: readonly CleanedRepository[];
  /** Unused content that was, or would be, deleted. */
  readonly content: { readonly files: number; readonly bytes: number };
  readonly notDone: readonly NotDone[];
  /** Errors after the flip of a new snapshot; the next publish or clean completes the work (I4). */
  readonly later: readonly NotDone[];
  /** Aborted incomplete uploads. */
  readonly uploads?: number;
  /** Why the cleaning ended early; the next one continues. */
  readonly stopped?: string | undefined;
}

/** A manifest or blob that a snapshot needs. */
export interface NeededContent {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Set for a manifest; undefined for a blob. */
  readonly mediaType: string | undefined;
}

export interface Fetching {
  /** The transaction that keeps the fetched content. */
  readonly transaction: string;
  /** Called with the number of bytes received. */
  readonly onBytes: (count: number) => void;
}

/** Methods for read-only commands. They write nothing and need no write permission. */
export interface TargetReader {
  /** Its name in the settings. */
  readonly name: string;
  /** @returns the ids of all repositories, sorted, including removed ones that still serve running pulls */
  repositories(): Promise<RepositoryId[]>;
  /** Returns what clients see; undefined when nothing is published. */
  current(id: RepositoryId): Promise<CurrentSnapshot | undefined>;
  /** Newest first; empty for an unknown repository. */
  history(id: RepositoryId): Promise<readonly HistoryEntry[]>;
  /** @param id only this repository; the result is empty when it does not exist */
  overview(id?: RepositoryId): Promise<TargetOverview>;
  /**
   * Reads and checks all published content. Publishes and cleanings may run meanwhile.
   * @param id only this repository
   * @returns undefined when it does not exist
   */
  verify(id?: RepositoryId): Promise<VerifyReport | undefined>;
}

/** Source or destination of a copy. Content passes through the content store of this host. */
export interface CopyEnd {
  /** Returns the description of the current snapshot; undefined when nothing is published. */
  currentText(id: RepositoryId): Promise<SnapshotText | undefined>;
  /** Destination: returns what the content store must have for a copy; always includes all manifests. */
  lacking(needs: readonly NeededContent[]): Promise<readonly NeededContent[]>;
  /**
   * Source: brings content into the content store.
   * @throws target.damaged, target.failed, system errors
   */
  fetch(needs: readonly NeededContent[], how: Fetching): Promise<void>;
  /** Destination: uploads content from the content store, even when the last snapshot has it. */
  send(needs: readonly NeededContent[]): Promise<void>;
}

export interface Target extends TargetReader, CopyEnd {
  /**
   * Applies a change and makes the result current in one atomic step.
   * @throws lock.busy, lock.lost, pivot.moved, target.failed, system errors: clients see no change, and the
   *   publish can be retried; repository.unknown, snapshot.unknown, tag.unknown; content errors that concern
   *   all drops
   */
  publish(
    policy: RepositoryPolicy,
    change: TargetChange,
    waiting?: Waiting,
  ): Promise<PublishResult>;
  /**
   * Checks whether a drop would be accepted. Changes nothing.
   * @throws tag.immutable, manifest.ambiguous, layout.unsafe
   */
  check(policy: RepositoryPolicy, drop: DropToMerge): Promise<void>;
  /**
   * Called when a daemon starts: completes interrupted work.
   * @throws target.unfit, system errors; nothing may be published to the target then
   */
  start(): Promise<StartResult>;
  /** Removes old snapshots and unused content. */
  clean(options: { readonly dryRun: boolean }): Promise<CleanResult>;
  /**
   * Same as `clean`, for a daemon that calls it repeatedly.
   * @returns undefined when it is not due
   */
  cleanIfDue(): Promise<CleanResult | undefined>;
  /**
   * Repairs what `verify` finds, as far as this host has the content.
   * @param id only this repository
   * @returns undefined when it does not exist
   * @throws usage.invalid for a target that is repaired in another way
   */
  repair(id?: RepositoryId): Promise<RepairResult | undefined>;
}
