/** Writes the inbox status to disk, for `dropdock status`. */
import { crash } from '../crash.js';
import { removeInboxStatus, writeInboxStatus } from '../storage/inbox-status-file.js';
import type { KnownDrop } from '../web/daemon-view.js';
import type { EndpointState } from './endpoint-state.js';
import type { Services } from './services.js';

/** Shortest time between two writes: often enough for people, and little work for the disk. */
const EVERY_MS = 1000;
const WAITING_MAX = 200;

/** What the daemon knows about itself. */
export interface AboutDaemon {
  /** The package's version. */
  readonly version: string;
  readonly endpoint: EndpointState;
}

/** The content of the status file; docs/status.md describes it. */
export interface InboxStatusDocument {
  readonly version: 1;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly pid: number;
  /** Number of waiting drops; `drops` has only the first of them. */
  readonly waiting: number;
  readonly drops: readonly KnownDrop[];
  /** Absent in the file of an earlier version. */
  readonly daemon?: AboutDaemon;
}

export class InboxStatusWriter {
  readonly #services: Services;
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #ended = false;

  /** @param about returns what else to write */
  constructor(
    services: Services,
    readonly about: () => AboutDaemon | undefined = () => undefined,
  ) {
    this.#services = services;
    this.#unsubscribe = services.board.onChange(() => this.soon());
    this.#write();
  }

  /** Removes the status file: the daemon is no longer running. */
  async stop(): Promise<void> {
    this.#ended = true;
    this.#unsubscribe();
    clearTimeout(this.#timer);
    await this.#writing;
    const { run, roots, owner } = this.#services;
    await run(removeInboxStatus, { roots, owners: [owner.token] }).catch(() => {});
  }

  /** Writes the file again, at most once a second. */
  soon(): void {
    if (this.#ended || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#write();
    }, EVERY_MS);
    this.#timer.unref();
  }

  #write(): void {
    this.#writing = this.#writeNow().catch(crash);
  }

  async #writeNow(): Promise<void> {
    const { board, run, roots, owner, nowMs } = this.#services;
    try {
      const all = await board.drops();
      const waiting = all.filter(({ kind }) => kind === 'waiting');
      const shown = [
        ...all.filter(({ kind }) => kind === 'running'),
        ...waiting.slice(0, WAITING_MAX),
      ];
      const about = this.about();
      const document: InboxStatusDocument = {
        version: 1,
        at: nowMs(),
        pid: process.pid,
        waiting: waiting.length,
        drops: shown,
        ...(about && { daemon: about }),
      };
      await run(writeInboxStatus, { roots, owner: owner.token, text: JSON.stringify(document) });
    } catch {
      // The file is only informational, and its readers see its age.
    }
    // Progress changes without events.
    if (board.isMoving()) this.soon();
  }
}
