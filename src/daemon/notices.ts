/**
 * Spools notifications of flips and rejections. Each is written before its flip or rejection, so that a crash
 * loses none. Publishing only knows an observer. If a notification cannot be written, publishing goes on.
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
  /** The process id of the tree. */
  readonly owner: string;
  readonly run: RunJob;
  readonly log: Log;
}

export class Notices implements FlipObserver {
  readonly spool: string;
  readonly targets: readonly Target[];
  /** Called after a notification was spooled. */
  onSpooled: () => void = () => {};
  readonly #options: NoticesOptions;
  /** Flips of this process that are not finished yet. */
  readonly #underWay = new Map<string, FlipNote>();

  constructor(options: NoticesOptions) {
    const { settings, roots } = options;
    this.#options = options;
    this.spool = notifyDirectory(roots);
    this.targets = settings().notify.map(targetOf);
  }

  /**
   * Spools the notifications of unfinished flips whose process is dead or could not write them.
   * @param isDead true for the process id of a dead process
   */
  async settleLeft(isDead: (owner: string) => boolean): Promise<void> {
    const { run, owner } = this.#options;
    for (const note of await run(listFlipNotes, { spool: this.spool })) {
      const isOurs = note.owner === owner;
      if (isOurs ? this.#underWay.has(keyOf(note)) : !isDead(note.owner)) continue;
      await this.#settle(note, { isLeft: true });
    }
  }

  /** Records the pending flip. @returns a function that spools its notifications; call it when the history has the flip */
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
   * Call it before the drop is rejected: after a crash in between, the rejection is repeated with the same
   * name, so the notification is not sent twice.
   * @param receipt the receipt's text
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

  /** True if a target of `notify` subscribes to changes of this repository. */
  #isWanted(id: RepositoryId): boolean {
    const { repository } = resolveRepositoryById(this.#options.settings(), id);
    return this.targets.some(
      ({ on, repositories }) =>
        on.some((event) => event !== 'rejected') &&
        repositories.some((pattern) => matchesRepository(pattern, repository)),
    );
  }

  #sayDropped(count: number): void {
    if (count > 0)
      this.#options.log('error', 'notify.dropped', {
        count,
        why: 'too many notifications are waiting',
      });
  }

  async #quietly(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const what = 'cannot write a notification; it will be retried';
      this.#options.log('warn', 'daemon.warning', { what, ...errorFields(error as Error) });
    }
  }
}

function keyOf({ id, snapshot }: Pick<FlipNote, 'id' | 'snapshot'>): string {
  return `${id}@${snapshot}`;
}
