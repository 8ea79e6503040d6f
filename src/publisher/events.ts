/**
 * All events about drops and repositories, as typed values. Log, status, metrics and web page subscribe; the
 * publisher knows none of them. A new event needs a variant here and a case in each subscriber that handles
 * it.
 */

import type { RepositoryId, RepositoryName } from '../image/names.js';
import type { LeftOut } from '../image/staged-content.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { Progress } from '../storage/progress.js';
import type { PublishedOutcome } from './target.js';

/** The timed steps of a publish. */
export type Step =
  | 'scan'
  | 'examine'
  | 'claim'
  | 'read'
  | 'hash'
  | 'mend'
  | 'build'
  | 'flip'
  | 'link'
  | 'receipt'
  | 'clean'
  | 'delete'
  | 'sweep';

/** `drop` is its path in the inbox. */
interface OfDrop {
  readonly drop: string;
}

/** The user that the drop is from; undefined if unknown. */
interface ByUser {
  readonly by?: string | undefined;
}

/** The repository is undefined for a bundle that was not read yet. */
interface OfPublish extends OfDrop {
  readonly repository: RepositoryName | undefined;
}

export type PublishEvent =
  | ({ readonly type: 'drop.seen' | 'drop.gone' | 'drop.claimed' } & OfDrop)
  /** It changed a moment ago. For the status only: it may be emitted at each scan. */
  | ({ readonly type: 'drop.growing'; readonly bytes: number } & OfDrop)
  | ({
      /** `drop.left`: it was claimed by a copy and stays. `drop.unreadable`: it may not be read. */
      readonly type: 'drop.waiting' | 'drop.ignored' | 'drop.left' | 'drop.unreadable';
      readonly reason: string;
      /** The reason was mentioned before; the drop only changed meanwhile. Not logged again. */
      readonly isRepeated?: boolean;
    } & OfDrop)
  /** The drop is claimed and will be published. `key` identifies its claim, which is at `path`. */
  | ({
      readonly type: 'drop.queued';
      readonly key: string;
      readonly path: string;
      readonly progress: Progress;
    } & OfDrop)
  | ({
      readonly type: 'drop.rejected';
      readonly error: Error;
      /** Where it is kept, relative to the inbox; undefined if it stays in the inbox, or was published in part. */
      readonly kept?: string | undefined;
    } & OfPublish &
      ByUser)
  /** Another daemon has taken over its claim. */
  | ({ readonly type: 'drop.lost'; readonly error: Error } & OfDrop)
  | ({ readonly type: 'publish.started' } & OfPublish)
  /** Another publisher has held the lock of the repository for long. */
  | ({ readonly type: 'publish.waiting' } & OfPublish)
  | ({
      readonly type: 'publish.retry';
      readonly target: string | undefined;
      readonly error: Error;
      readonly attempt: number;
      readonly nextMs: number;
    } & OfPublish)
  /** One of several targets has accepted or refused the drop. */
  | ({
      readonly type: 'publish.target';
      readonly target: string;
      readonly outcome: TargetOutcome;
      readonly tookMs: number;
    } & OfPublish)
  /** All targets have the drop. */
  | ({
      readonly type: 'publish.done';
      readonly outcome: PublishedOutcome;
      readonly tookMs: number;
    } & OfPublish &
      ByUser)
  | ({ readonly type: 'publish.left-out'; readonly what: LeftOut } & OfPublish)
  /** Published as the drop says, but probably not as its uploader meant. */
  | ({ readonly type: 'publish.warning'; readonly message: string } & OfPublish)
  /** Errors after a flip; the next publish or clean completes the work. */
  | {
      readonly type: 'publish.later';
      readonly repository: RepositoryName | undefined;
      readonly target: string | undefined;
      readonly error: Error;
    }
  /** Interrupted work was completed. */
  | {
      readonly type: 'repository.recovered';
      readonly repository: RepositoryName | undefined;
      readonly target: string | undefined;
      readonly what: string;
    }
  /** Old snapshots of a repository were removed after a publish. */
  | {
      readonly type: 'repository.cleaned';
      readonly repository: RepositoryName;
      readonly target: string | undefined;
      readonly snapshots: number;
    }
  | {
      readonly type: 'inbox.scanned';
      readonly drops: readonly string[];
      readonly ignored: number;
      /** Drops that were published and stay, and entries that may not be read. */
      readonly left: number;
      readonly unreadable: number;
      readonly tookMs: number;
    }
  /** A change of the published tree begins. */
  | { readonly type: 'repository.changing'; readonly id: RepositoryId }
  | {
      readonly type: 'flip.done';
      readonly id: RepositoryId;
      readonly snapshot: Timestamp;
      /** Number of files in the large directories of the snapshot. */
      readonly files: number;
    }
  | { readonly type: 'snapshots.removed'; readonly count: number }
  | { readonly type: 'content.hashed'; readonly bytes: number }
  | {
      readonly type: 'content.swept';
      readonly bytes: number;
      /** What remains in the content store. */
      readonly stays: { readonly files: number; readonly bytes: number };
    }
  | { readonly type: 'lock.waited'; readonly tookMs: number }
  | { readonly type: 'step.done'; readonly step: Step; readonly tookMs: number };

export type TargetOutcome =
  | Pick<PublishedOutcome, 'status' | 'snapshot'>
  | { readonly status: 'rejected'; readonly error: Error };

export type EmitEvent = (event: PublishEvent) => void;

/** Passes each event to all subscribers, in order. */
export class Events {
  readonly #subscribers = new Set<EmitEvent>();

  readonly emit: EmitEvent = (event) => {
    for (const subscriber of this.#subscribers) subscriber(event);
  };

  /**
   * @param subscriber must not throw
   * @returns a function that ends the subscription
   */
  subscribe(subscriber: EmitEvent): () => void {
    this.#subscribers.add(subscriber);
    return () => void this.#subscribers.delete(subscriber);
  }
}

/** Runs a step and emits its duration when it succeeds. */
export async function timed<T>(emit: EmitEvent, step: Step, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  const result = await work();
  emit({ type: 'step.done', step, tookMs: performance.now() - beganMs });
  return result;
}
