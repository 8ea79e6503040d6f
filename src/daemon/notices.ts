/**
 * Notifications that are owed for flips and rejections, written down before they happen: a crash in between
 * loses none. Publishing knows nothing of them but that it is observed. A notice that cannot be written holds
 * nothing back.
 */

import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import { rejectionNotice, type Target, targetOf, wants } from '../notify/notice.js';
import { type FlipNote, listFlipNotes, noteFlip, spoolNotice } from '../notify/queue.js';
import { errorFields } from '../report.js';
import { matchesRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { RunJob } from '../storage/job.js';
import { notifyDirectory, type TreeRoots } from '../storage/tree-paths.js';
import type { FlipObserver, PendingFlip } from '../targets/target-kind.js';
import { settleFlip } from './flip-notice.js';

export interface NoticesOptions {
  readonly settings: () => Settings;
  readonly roots: TreeRoots;
  /** The token of this process. */
  readonly owner: string;
  readonly run: RunJob;
  readonly log: Log;
}

export class Notices implements FlipObserver {
  readonly spool: string;
  readonly targets: readonly Target[];
  /** Something waits to be told. */
  onSpooled: () => void = () => {};
  readonly #options: NoticesOptions;
  /** Flips of this process that are not through yet. */
  readonly #underWay = new Map<string, FlipNote>();

  constructor(options: NoticesOptions) {
    const { settings, roots } = options;
    this.#options = options;
    this.spool = notifyDirectory(roots);
    this.targets = settings().notify.map(targetOf);
  }

  /**
   * Tells of flips that nobody has told of: their processes are dead, or could not write.
   * @param isDead of another process's token
   */
  async settleLeft(isDead: (owner: string) => boolean): Promise<void> {
    const { run, owner } = this.#options;
    for (const note of await run(listFlipNotes, { spool: this.spool })) {
      const isOurs = note.owner === owner;
      if (isOurs ? this.#underWay.has(keyOf(note)) : !isDead(note.owner)) continue;
      await this.#settle(note, { isLeft: true });
    }
  }

  /** Writes the flip down. @returns what sends what is owed for it, once the history has it */
  async beforeFlip({ id, snapshot, base }: PendingFlip): Promise<() => Promise<void>> {
    if (!this.#isWanted(id)) return async () => {};
    const { run, owner } = this.#options;
    const note = { owner, id, snapshot, base };
    this.#underWay.set(keyOf(note), note);
    await this.#quietly(() => run(noteFlip, { spool: this.spool, note }));
    return () => this.#settle(note);
  }

  async #settle(note: FlipNote, { isLeft = false } = {}): Promise<void> {
    const { run, roots } = this.#options;
    const { spool, targets } = this;
    await this.#quietly(async () => {
      this.#sayDropped(await run(settleFlip, { roots, spool, note, targets, isLeft }));
      this.onSpooled();
    });
    this.#underWay.delete(keyOf(note));
  }

  /**
   * Before the drop is rejected: a process that dies in between rejects it again, under the same name.
   * @param receipt its text
   */
  async beforeRejection(receipt: string): Promise<void> {
    const { run } = this.#options;
    if (this.targets.length === 0) return;
    const notice = rejectionNotice(receipt);
    const wanting = this.targets.filter(
      (each) => notice !== undefined && wants(each, notice, matchesRepository),
    );
    const keys = [...new Set(wanting.map(({ key }) => key))];
    if (notice === undefined || keys.length === 0) return;
    await this.#quietly(async () => {
      this.#sayDropped(await run(spoolNotice, { spool: this.spool, keys, notice }));
      this.onSpooled();
    });
  }

  /** Whether anybody wants to know of any change of this repository. */
  #isWanted(id: RepositoryId): boolean {
    const { repository } = resolveRepositoryById(this.#options.settings(), id);
    return this.targets.some(
      ({ on, repositories }) =>
        on.some((event) => event !== 'rejected') &&
        repositories.some((pattern) => matchesRepository(pattern, repository)),
    );
  }

  #sayDropped(count: number): void {
    if (count > 0) this.#options.log('error', 'notify.dropped', { count, why: 'too many wait' });
  }

  async #quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const what = 'a notice cannot be written; it is tried again';
      this.#options.log('warn', 'daemon.warning', { what, ...errorFields(error as Error) });
    }
  }
}

function keyOf({ id, snapshot }: Pick<FlipNote, 'id' | 'snapshot'>): string {
  return `${id}@${snapshot}`;
}
