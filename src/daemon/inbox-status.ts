/**
 * The state of the inbox, for display: subscribes to the events and remembers the latest of each drop.
 * Publishing does not depend on it.
 */

import {
  pathOfFlatName,
  type RepositoryId,
  type RepositoryName,
  repositoriesOfDropName,
} from '../image/names.js';
import { listRejected, type RejectedDrop } from '../inbox/rejected.js';
import type { EmitEvent, PublishEvent } from '../publisher/events.js';
import { errorFields } from '../report.js';
import { timestampMs } from '../repository/timestamp.js';
import type { RunJob } from '../storage/job.js';
import { readProgress, resetProgress } from '../storage/progress.js';
import { dropBytes } from '../storage/receive.js';
import type { TreeRoots } from '../storage/tree-paths.js';
import { repositoryHistory } from '../targets/directory/overview.js';
import { formatBytes } from '../units.js';
import type { DaemonView, KnownDrop, KnownFlip } from '../web/daemon-view.js';
import type { DropState } from '../web/inbox-view.js';
import { shownTags } from './log-events.js';

export interface InboxStatusOptions {
  readonly inbox: string;
  readonly roots: TreeRoots;
  readonly run: RunJob;
  /** Keys of the claims in progress; a claim that is not among them has ended. */
  readonly liveClaims: ReadonlySet<string>;
  readonly nowMs: () => number;
}

const STATE_OF = {
  'drop.waiting': 'waiting',
  'drop.ignored': 'ignored',
  'drop.left': 'left',
  'drop.unreadable': 'unreadable',
} as const;

/** A claim that is queued or being published. */
interface Running
  extends Pick<
    Extract<PublishEvent, { type: 'drop.queued' }>,
    'drop' | 'key' | 'path' | 'progress'
  > {
  /** Bytes to read; undefined until they are counted, at the first request for the status. */
  total: number | undefined;
  isCounted: boolean;
}

/** The latest state of a drop. */
interface Said {
  readonly state: DropState;
  readonly sinceMs: number;
  readonly reason?: string;
  readonly code?: string;
}

/** The name is parsed once: thousands of drops may wait, and the status is requested often. */
interface Waiting extends Said {
  readonly repositories: readonly RepositoryName[];
}

const PUBLISHED_MAX = 20;
const REJECTED_MAX = 100;
/** Longest age of the cached list: the deletion of a rejected drop causes no event. */
const REJECTED_LOOK_MS = 5000;

export class InboxStatus implements DaemonView {
  readonly #waiting = new Map<string, Waiting>();
  /** By drop name, then by claim key: events have only the name, and there may be thousands of claims. */
  readonly #running = new Map<string, Map<string, Running>>();
  /** States of running drops, by name. */
  readonly #states = new Map<string, Said>();
  #published: KnownDrop[] = [];
  #rejected: Promise<readonly RejectedDrop[]> = Promise.resolve([]);
  #rejectedMs = Number.NEGATIVE_INFINITY;
  readonly #listeners = new Set<() => void>();

  constructor(readonly options: InboxStatusOptions) {}

  onChange(changed: () => void): () => void {
    this.#listeners.add(changed);
    return () => void this.#listeners.delete(changed);
  }

  isMoving(): boolean {
    this.#forgetEnded();
    return this.#running.size > 0;
  }

  /** Counts the bytes to read. They are only for the progress bar, so they are counted on request. */
  #count(running: Running): void {
    if (running.isCounted) return;
    running.isCounted = true;
    this.options.run(dropBytes, { path: running.path }).then(
      (bytes) => {
        running.total = bytes;
      },
      () => {},
    );
  }

  /** Subscribes to the events. */
  readonly hear: EmitEvent = (event) => {
    if (!('drop' in event)) return;
    this.#note(event);
    for (const changed of this.#listeners) changed();
  };

  #note(event: Extract<PublishEvent, { readonly drop: string }>): void {
    const sinceMs = this.options.nowMs();
    const { drop } = event;
    switch (event.type) {
      case 'drop.seen':
        this.#wait(drop, { state: 'waiting', sinceMs });
        break;
      case 'drop.waiting':
      case 'drop.ignored':
      case 'drop.left':
      case 'drop.unreadable': {
        const state = STATE_OF[event.type];
        const since = this.#waiting.get(drop)?.sinceMs ?? sinceMs;
        this.#wait(drop, { state, sinceMs: since, reason: this.#plain(event.reason) });
        break;
      }
      case 'drop.growing': {
        const since = this.#waiting.get(drop)?.sinceMs ?? sinceMs;
        const reason = `still growing, ${formatBytes(event.bytes)}`;
        this.#wait(drop, { state: 'waiting', sinceMs: since, reason });
        break;
      }
      case 'drop.gone':
        this.#waiting.delete(drop);
        break;
      case 'drop.claimed':
        this.#waiting.delete(drop);
        this.#states.set(drop, { state: 'queued', sinceMs });
        break;
      case 'drop.queued': {
        const sameName = this.#running.get(drop) ?? new Map<string, Running>();
        this.#running.set(drop, sameName);
        sameName.set(event.key, { ...event, total: undefined, isCounted: false });
        break;
      }
      case 'publish.started':
        this.#states.set(drop, { state: 'publishing', sinceMs });
        for (const { progress } of this.#running.get(drop)?.values() ?? []) resetProgress(progress);
        break;
      case 'publish.waiting': {
        const reason = `Another publisher holds the lock of ${event.repository ?? 'a repository'}.`;
        this.#states.set(drop, { state: 'publishing', sinceMs, reason });
        break;
      }
      case 'publish.retry': {
        const { code, message } = errorFields(event.error);
        const next = `${(event.nextMs / 1000).toFixed(1)}s`;
        const reason = `${this.#plain(message)} Retrying in ${next}.`;
        this.#states.set(drop, { state: 'retrying', sinceMs, reason, code });
        break;
      }
      case 'publish.done':
        this.#finish(event);
        break;
      case 'drop.rejected':
        this.#states.delete(drop);
        this.#rejectedMs = Number.NEGATIVE_INFINITY;
    }
  }

  #wait(drop: string, said: Said): void {
    const repositories = this.#waiting.get(drop)?.repositories ?? repositoriesOfDropName(drop);
    this.#waiting.set(drop, { ...said, repositories });
  }

  #finish({ drop, repository, outcome }: Extract<PublishEvent, { type: 'publish.done' }>): void {
    this.#states.delete(drop);
    const repositories = repositoriesOfDropName(drop);
    const tags = shownTags(outcome);
    const what = repositories.length > 0 ? tags : [repository, tags].filter(Boolean).join(': ');
    const done = {
      kind: 'published' as const,
      drop,
      state: outcome.status,
      sinceMs: this.options.nowMs(),
      repositories,
      ...(what && { reason: what }),
    };
    this.#published = [done, ...this.#published].slice(0, PUBLISHED_MAX);
  }

  /** Replaces this host's paths: the status may be public. */
  #plain(text: string): string {
    const { inbox, roots } = this.options;
    return text
      .replaceAll(inbox, '<inbox>')
      .replaceAll(roots.published, '<published>')
      .replaceAll(roots.state, '<state>');
  }

  async drops(): Promise<readonly KnownDrop[]> {
    this.#forgetEnded();
    const all = [...this.#running.values()].flatMap((sameName) => [...sameName.values()]);
    const running = all.map((each): KnownDrop => {
      const said = this.#states.get(each.drop) ?? {
        state: 'queued',
        sinceMs: this.options.nowMs(),
      };
      // A queued drop has no progress yet.
      if (said.state !== 'queued') this.#count(each);
      const progress = { done: readProgress(each.progress), total: each.total };
      const repositories = repositoriesOfDropName(each.drop);
      return { kind: 'running', drop: each.drop, repositories, progress, ...said };
    });
    const waiting = [...this.#waiting].map(
      ([drop, said]): KnownDrop => ({ kind: 'waiting', drop, ...said }),
    );
    const rejected = (await this.#listRejected()).map(
      ({ drop, claim, at, code, message, hint }): KnownDrop => ({
        kind: 'rejected',
        state: 'rejected',
        drop,
        repositories: repositoriesOfRejected(claim, drop),
        sinceMs: timestampMs(at),
        reason: this.#plain(message),
        hint,
        code,
      }),
    );
    return [...running, ...waiting, ...rejected, ...this.#published];
  }

  history(id: RepositoryId): Promise<readonly KnownFlip[]> {
    return this.options.run(repositoryHistory, { roots: this.options.roots, id });
  }

  #listRejected(): Promise<readonly RejectedDrop[]> {
    const { run, inbox, nowMs } = this.options;
    if (Math.abs(nowMs() - this.#rejectedMs) < REJECTED_LOOK_MS) return this.#rejected;
    this.#rejectedMs = nowMs();
    this.#rejected = run(listRejected, { inbox, count: REJECTED_MAX }).then(
      ({ drops }) => drops,
      () => [],
    );
    return this.#rejected;
  }

  #forgetEnded(): void {
    for (const [name, sameName] of this.#running) {
      for (const key of sameName.keys()) {
        if (!this.options.liveClaims.has(key)) sameName.delete(key);
      }
      if (sameName.size > 0) continue;
      this.#running.delete(name);
      this.#states.delete(name);
    }
  }
}

/** Both names must parse: a forged receipt must not make a drop visible that its name in `.rejected` hides. */
function repositoriesOfRejected(claim: string, drop: string): RepositoryName[] {
  const all = [pathOfFlatName(claim), drop].map(repositoriesOfDropName);
  return all.some(({ length }) => length === 0) ? [] : [...new Set(all.flat())];
}
