/** Keeps the daemon's board on disk, for `dropdock status`. */
import { crash } from '../crash.js';
import { removeInboxStatus, writeInboxStatus } from '../storage/inbox-status-file.js';
import type { KnownDrop } from '../web/daemon-view.js';
import type { Services } from './services.js';

/** One look in a second is enough for people, and little for a disk. */
const EVERY_MS = 1000;
const WAITING_MAX = 200;

/** docs/status.md describes it. */
export interface InboxStatusDocument {
  readonly version: 1;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly pid: number;
  /** How many wait altogether; of these, the first are among `drops`. */
  readonly waiting: number;
  readonly drops: readonly KnownDrop[];
}

export class InboxStatusWriter {
  readonly #services: Services;
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #ended = false;

  constructor(services: Services) {
    this.#services = services;
    this.#unsubscribe = services.board.onChange(() => this.#soon());
    this.#write();
  }

  /** Nothing works here any more, and nothing says it did. */
  async stop(): Promise<void> {
    this.#ended = true;
    this.#unsubscribe();
    clearTimeout(this.#timer);
    await this.#writing;
    const { run, roots, owner } = this.#services;
    await run(removeInboxStatus, { roots, owners: [owner.token] }).catch(() => {});
  }

  #soon(): void {
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
      const document: InboxStatusDocument = {
        version: 1,
        at: nowMs(),
        pid: process.pid,
        waiting: waiting.length,
        drops: shown,
      };
      await run(writeInboxStatus, { roots, owner: owner.token, text: JSON.stringify(document) });
    } catch {
      // It is for those who look, and they are told how old it is.
    }
    // How far it is changes without anything being said.
    if (board.isMoving()) this.#soon();
  }
}
