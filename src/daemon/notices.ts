/**
 * Who is told of what. Everything that changes what clients see goes through one job, the flip, and
 * every refusal of a drop through another: what is owed is written down around these two, so
 * publishing itself knows nothing of it. A notice that cannot be written holds nothing back.
 */
import type { RunJob } from '../disk/hands.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import { rejectionNotice, type Target, targetOf, wants } from '../notify/notice.js';
import type { FlipNote } from '../notify/spool.js';
import type { FlipRequest } from '../publish/flip.js';
import { notifyDirectory, type TreeRoots } from '../publish/paths.js';
import { errorFields } from '../report.js';
import { matchesRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { Jobs } from '../threads/jobs.js';

export interface NoticesOptions {
  readonly settings: Settings;
  readonly roots: TreeRoots;
  /** The token of this process. */
  readonly owner: string;
  readonly run: RunJob<Jobs>;
  readonly log: Log;
}

export class Notices {
  readonly spool: string;
  readonly targets: readonly Target[];
  /** Does a job as it was told to, and sees to it that it is told of. */
  readonly run: RunJob<Jobs>;
  /** Something waits to be told. */
  onSpooled: () => void = () => {};
  readonly #options: NoticesOptions;
  /** Flips of this process that are not through yet. */
  readonly #underWay = new Map<string, FlipNote>();

  constructor(options: NoticesOptions) {
    const { settings, roots, run } = options;
    this.#options = options;
    this.spool = notifyDirectory(roots);
    this.targets = settings.notify.map(targetOf);
    this.run = this.targets.length === 0 ? run : this.#telling();
  }

  /**
   * Tells of flips that nobody has told of: their processes are dead, or could not write.
   * @param isDead of another process's token
   */
  async settleLeft(isDead: (owner: string) => boolean): Promise<void> {
    const { run, owner } = this.#options;
    for (const note of await run('listFlipNotes', { spool: this.spool })) {
      const isOurs = note.owner === owner;
      if (isOurs ? this.#underWay.has(keyOf(note)) : !isDead(note.owner)) continue;
      await this.#settle(note, { isLeft: true });
    }
  }

  #telling(): RunJob<Jobs> {
    const { run } = this.#options;
    return (job, request) => {
      const work = () => run(job, request);
      const given: unknown = request;
      if (job === 'flip') return this.#aroundFlip(given as FlipRequest, work);
      if (job === 'afterFlip') return this.#aroundAfterFlip(given as AfterFlip, work);
      if (job === 'letGoRejected') return this.#aroundRejection(given as Rejection, work);
      return work();
    };
  }

  async #aroundFlip<T>({ id, snapshot, base }: FlipRequest, flip: () => Promise<T>): Promise<T> {
    if (!this.#isWanted(id)) return flip();
    const { run, owner } = this.#options;
    const note = { owner, id, snapshot, base };
    this.#underWay.set(keyOf(note), note);
    await this.#quietly(() => run('noteFlip', { spool: this.spool, note }));
    try {
      return await flip();
    } catch (error) {
      await this.#settle(note);
      throw error;
    }
  }

  /** The history has it by then, and with it what is to be told. */
  async #aroundAfterFlip<T>({ id, record }: AfterFlip, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      const note = this.#underWay.get(keyOf({ id, snapshot: record.snapshot }));
      if (note) await this.#settle(note);
    }
  }

  async #settle(note: FlipNote, { isLeft = false } = {}): Promise<void> {
    const { run, roots } = this.#options;
    const { spool, targets } = this;
    await this.#quietly(async () => {
      this.#sayDropped(await run('settleFlip', { roots, spool, note, targets, isLeft }));
      this.onSpooled();
    });
    this.#underWay.delete(keyOf(note));
  }

  /** Before the drop is let go: whoever dies in between refuses it again, under the same name. */
  async #aroundRejection<T>({ receipt }: Rejection, work: () => Promise<T>): Promise<T> {
    const { run } = this.#options;
    const notice = rejectionNotice(receipt);
    const wanting = this.targets.filter(
      (each) => notice !== undefined && wants(each, notice, matchesRepository),
    );
    const keys = [...new Set(wanting.map(({ key }) => key))];
    if (notice !== undefined && keys.length > 0) {
      await this.#quietly(async () => {
        this.#sayDropped(await run('spoolNotice', { spool: this.spool, keys, notice }));
        this.onSpooled();
      });
    }
    return work();
  }

  /** Whether anybody wants to know of any change of this repository. */
  #isWanted(id: RepositoryId): boolean {
    const { repository } = resolveRepositoryById(this.#options.settings, id);
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

interface Rejection {
  readonly receipt: string;
}

interface AfterFlip {
  readonly id: RepositoryId;
  readonly record: { readonly snapshot: string };
}

function keyOf({ id, snapshot }: Pick<FlipNote, 'id' | 'snapshot'>): string {
  return `${id}@${snapshot}`;
}
