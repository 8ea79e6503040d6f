/**
 * Everything that happens to drops and repositories, as typed values. The log, the status, the metrics and the
 * page subscribe; none of them is known here. A new event is one line here and one in each subscriber that
 * wants it.
 */

import type { RepositoryId, RepositoryName } from '../image/names.js';
import type { LeftOut } from '../image/staged-content.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { Progress } from '../storage/progress.js';
import type { PublishedOutcome } from './target.js';

/** The steps of a publish that are timed. */
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

/** A drop by its path below the inbox. */
interface OfDrop {
  readonly drop: string;
}

/** A drop on its way into a repository; none is known of a bundle before it was read. */
interface OfPublish extends OfDrop {
  readonly repository: RepositoryName | undefined;
}

export type PublishEvent =
  | ({ readonly type: 'drop.seen' | 'drop.gone' | 'drop.claimed' } & OfDrop)
  | ({ readonly type: 'drop.waiting' | 'drop.ignored'; readonly reason: string } & OfDrop)
  /** It is claimed and will be published; `key` names its claim, which lies at `path`. */
  | ({
      readonly type: 'drop.queued';
      readonly key: string;
      readonly path: string;
      readonly progress: Progress;
    } & OfDrop)
  | ({ readonly type: 'drop.rejected'; readonly error: Error } & OfPublish)
  /** Another daemon has taken its claim over. */
  | ({ readonly type: 'drop.lost'; readonly error: Error } & OfDrop)
  | ({ readonly type: 'publish.started' } & OfPublish)
  /** Another publisher holds the lock of its repository for long. */
  | ({ readonly type: 'publish.waiting' } & OfPublish)
  | ({
      readonly type: 'publish.retry';
      readonly target: string | undefined;
      readonly error: Error;
      readonly attempt: number;
      readonly nextMs: number;
    } & OfPublish)
  /** One of several targets has it, or refuses it. */
  | ({
      readonly type: 'publish.target';
      readonly target: string;
      readonly outcome: TargetOutcome;
      readonly tookMs: number;
    } & OfPublish)
  /** All targets have it. */
  | ({
      readonly type: 'publish.done';
      readonly outcome: PublishedOutcome;
      readonly tookMs: number;
    } & OfPublish)
  | ({ readonly type: 'publish.left-out'; readonly what: LeftOut } & OfPublish)
  /** What could not be done after a flip; the next visit does it. */
  | {
      readonly type: 'publish.later';
      readonly repository: RepositoryName | undefined;
      readonly target: string | undefined;
      readonly error: Error;
    }
  /** What a crash had left undone, and was done now. */
  | {
      readonly type: 'repository.recovered';
      readonly repository: RepositoryName | undefined;
      readonly target: string | undefined;
      readonly what: string;
    }
  /** Stale snapshots of one repository were removed after a publish. */
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
      readonly tookMs: number;
    }
  /** A change of the published tree begins. */
  | { readonly type: 'repository.changing'; readonly id: RepositoryId }
  | {
      readonly type: 'flip.done';
      readonly id: RepositoryId;
      readonly snapshot: Timestamp;
      /** How many the snapshot has in its large directories. */
      readonly files: number;
    }
  | { readonly type: 'snapshots.removed'; readonly count: number }
  | { readonly type: 'content.hashed'; readonly bytes: number }
  | {
      readonly type: 'content.swept';
      readonly bytes: number;
      /** What is left in the content store. */
      readonly stays: { readonly files: number; readonly bytes: number };
    }
  | { readonly type: 'lock.waited'; readonly tookMs: number }
  | { readonly type: 'step.done'; readonly step: Step; readonly tookMs: number };

export type TargetOutcome =
  | Pick<PublishedOutcome, 'status' | 'snapshot'>
  | { readonly status: 'rejected'; readonly error: Error };

export type EmitEvent = (event: PublishEvent) => void;

/** Passes each event on to all subscribers, in the order in which they came. */
export class Events {
  readonly #subscribers = new Set<EmitEvent>();

  readonly emit: EmitEvent = (event) => {
    for (const subscriber of this.#subscribers) subscriber(event);
  };

  /** @param subscriber must not throw @returns what ends the subscription */
  subscribe(subscriber: EmitEvent): () => void {
    this.#subscribers.add(subscriber);
    return () => void this.#subscribers.delete(subscriber);
  }
}

/** Does a step, and tells how long it took when it went well. */
export async function timed<T>(emit: EmitEvent, step: Step, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  const result = await work();
  emit({ type: 'step.done', step, tookMs: performance.now() - beganMs });
  return result;
}
