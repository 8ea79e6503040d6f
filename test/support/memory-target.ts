/**
 * A target that keeps repositories in memory: a minimal example of a new kind of target. It passes the
 * same conformance suite as the directory and the object store, and the publisher's own tests use it.
 */
import { DropdockError, fromPlainError } from '#src/errors.js';
import type { RepositoryId } from '#src/image/names.js';
import {
  type CleanResult,
  type CurrentSnapshot,
  type DropOutcome,
  type Fetching,
  type HistoryEntry,
  type NeededContent,
  outcomeOfMerge,
  type PublishResult,
  type RepairResult,
  type RepositoryPolicy,
  type StagedDrop,
  type StartResult,
  type Target,
  type TargetChange,
  type TargetOverview,
  type VerifyReport,
} from '#src/publisher/target.js';
import type { ClockReading } from '#src/repository/elapsed.js';
import { type FlipDetails, flipDetails } from '#src/repository/flip-details.js';
import { expiredUpTo, flipAges } from '#src/repository/grace.js';
import {
  type DropToMerge,
  leadsBack,
  nextState,
  type Plan,
  planNext,
  type RestoredSnapshot,
  rollbackOrder,
} from '#src/repository/next-state.js';
import type { RenderOptions } from '#src/repository/render.js';
import {
  type SnapshotReason,
  type SnapshotText,
  serialiseSnapshot,
} from '#src/repository/snapshot-file.js';
import type { RepositoryState } from '#src/repository/state.js';
import { type Timestamp, toTimestamp } from '#src/repository/timestamp.js';

type Kept = RenderOptions & { readonly state: RepositoryState };

interface Flip extends SnapshotReason, FlipDetails {
  readonly at: Timestamp;
  readonly snapshot: Timestamp;
  readonly clock: ClockReading;
}

interface Repository {
  readonly snapshots: Map<Timestamp, Kept>;
  readonly flips: Flip[];
}

export interface MemoryTargetOptions {
  readonly name?: string;
  readonly nowMs?: () => number;
  readonly clock?: () => ClockReading;
  /** Called between reading what is current and replacing it, as another publisher might. */
  readonly beforeFlip?: () => Promise<void>;
}

export class MemoryTarget implements Target {
  readonly name: string;
  readonly #repositories: Map<RepositoryId, Repository>;
  readonly #options: MemoryTargetOptions;

  /** @param shared what another publisher of the same target has */
  constructor(options: MemoryTargetOptions = {}, shared?: MemoryTarget) {
    this.name = options.name ?? 'memory';
    this.#options = options;
    this.#repositories = shared ? shared.#repositories : new Map();
  }

  async repositories(): Promise<RepositoryId[]> {
    return [...this.#repositories.keys()].sort();
  }

  async current(id: RepositoryId): Promise<CurrentSnapshot | undefined> {
    const kept = this.#current(id);
    if (kept === undefined) return undefined;
    const { state, snapshot, base } = kept;
    const { repository, removed = false } = state;
    const tags = new Map([...state.tags].map(([tag, { digest }]) => [tag, digest]));
    const names = { snapshot: snapshot as Timestamp, base: base as Timestamp | null };
    return { repository, removed, tags, ...names };
  }

  async history(id: RepositoryId): Promise<HistoryEntry[]> {
    const { flips = [], snapshots } = this.#repositories.get(id) ?? {};
    return flips
      .map(({ clock: _clock, ...flip }, at) => ({
        ...flip,
        kept: snapshots?.has(flip.snapshot) === true,
        current: at === flips.length - 1,
      }))
      .reverse();
  }

  async overview(id?: RepositoryId): Promise<TargetOverview> {
    const ids = id === undefined ? await this.repositories() : [id];
    const repositories = ids.flatMap((each) => {
      const kept = this.#current(each);
      if (kept === undefined) return [];
      const { state, snapshot } = kept;
      const { repository, removed = false, tags } = state;
      return [{ repository, id: each, snapshot, removed, tags: tags.size }];
    });
    return { repositories, columns: ['repository', 'snapshot', 'tags'] };
  }

  /** What is in memory is right. */
  async verify(id?: RepositoryId): Promise<VerifyReport | undefined> {
    if (id !== undefined && this.#current(id) === undefined) return undefined;
    return { findings: [], files: 0, unit: 'objects' };
  }

  async repair(id?: RepositoryId): Promise<RepairResult | undefined> {
    if (id !== undefined && this.#current(id) === undefined) return undefined;
    return { repaired: [], notDone: [] };
  }

  async start(): Promise<StartResult> {
    return { recovered: [], notDone: [] };
  }

  /** It keeps everything. */
  async clean(): Promise<CleanResult> {
    const repositories = [...this.#repositories].map(([id, { snapshots, flips }]) => ({
      id,
      snapshots: [...snapshots.keys()].map((name) => {
        const rule = name === flips.at(-1)?.snapshot ? 'current' : 'keep';
        return { name, rule, remove: false } as const;
      }),
    }));
    return { repositories, content: { files: 0, bytes: 0 }, notDone: [], later: [] };
  }

  cleanIfDue(): Promise<CleanResult> {
    return this.clean();
  }

  async currentText(id: RepositoryId): Promise<SnapshotText | undefined> {
    const kept = this.#current(id);
    if (kept === undefined) return undefined;
    const text = Buffer.from(serialiseSnapshot(kept.state, kept));
    return { snapshot: kept.snapshot as Timestamp, text };
  }

  /** Content is in the content store, and nowhere else. */
  async lacking(needs: readonly NeededContent[]): Promise<readonly NeededContent[]> {
    return needs;
  }

  async fetch(needs: readonly NeededContent[], { onBytes }: Fetching): Promise<void> {
    for (const { size } of needs) onBytes(size);
  }

  async send(): Promise<void> {}

  async check(policy: RepositoryPolicy, drop: DropToMerge): Promise<void> {
    const before = this.#current(policy.id)?.state;
    const [outcome] = nextState(before, { kind: 'publish', drops: [drop] }, policy).outcomes;
    if (outcome?.ok === false) throw fromPlainError(outcome.error);
  }

  async publish(policy: RepositoryPolicy, change: TargetChange): Promise<PublishResult> {
    for (;;) {
      const stored = this.#current(policy.id);
      const restored = this.#restoredBy(policy, change, stored);
      const before = this.#publishedBefore(policy.id, change);
      const plan = this.#plan(policy, withoutPublished(change, before), stored, restored);
      await this.#options.beforeFlip?.();
      // Nothing can come between these two lines: the one atomic step.
      if (this.#current(policy.id) !== stored) continue;
      this.#flip(policy.id, plan, flipDetails(change, plan.reason, plan.moves));
      const snapshot = (plan.next?.options.snapshot ?? null) as Timestamp | null;
      const base = (stored?.snapshot ?? null) as Timestamp | null;
      const outcomes = outcomesOf(change, before, plan, snapshot, base);
      const { moves } = plan;
      const none = { removed: [], repaired: [], later: [] };
      return { outcomes, snapshot, base, moves, to: restored?.snapshot, ...none };
    }
  }

  #current(id: RepositoryId): Kept | undefined {
    const { flips = [], snapshots } = this.#repositories.get(id) ?? {};
    const last = flips.at(-1);
    return last && snapshots?.get(last.snapshot);
  }

  #plan(
    policy: RepositoryPolicy,
    change: TargetChange,
    stored: Kept | undefined,
    restored: RestoredSnapshot | undefined,
  ): Plan {
    const { flips = [], snapshots } = this.#repositories.get(policy.id) ?? {};
    const ages = flipAges(flips, [], this.#clock());
    return planNext({
      policy,
      change,
      stored,
      restored,
      nowMs: this.#nowMs(),
      taken: [...(snapshots?.keys() ?? [])],
      expiredMs: expiredUpTo(flips, ages, policy.graceMs),
      convert: (merged) => ({ state: merged, leftOut: [] }),
      isRedirectRight: ({ urlTemplate, protected: isProtected }) =>
        stored?.urlTemplate === urlTemplate && stored.protected === isProtected,
    });
  }

  #flip(id: RepositoryId, { next, reason }: Plan, details: FlipDetails): void {
    if (next === undefined) return;
    const repository: Repository = this.#repositories.get(id) ?? {
      snapshots: new Map(),
      flips: [],
    };
    this.#repositories.set(id, repository);
    const snapshot = next.options.snapshot as Timestamp;
    repository.snapshots.set(snapshot, { ...next.options, state: next.state });
    const at = toTimestamp(this.#nowMs());
    repository.flips.push({ at, snapshot, clock: this.#clock(), ...reason, ...details });
  }

  #restoredBy(
    { id, repository }: RepositoryPolicy,
    change: TargetChange,
    stored: Kept | undefined,
  ): RestoredSnapshot | undefined {
    if (change.kind !== 'rollback' || stored === undefined) return undefined;
    const { flips = [], snapshots } = this.#repositories.get(id) ?? {};
    const { to } = change;
    const order = rollbackOrder(
      flips.map(({ snapshot }) => snapshot),
      stored.snapshot as Timestamp,
    );
    for (const snapshot of to === undefined ? order : [to]) {
      const state = snapshots?.get(snapshot)?.state;
      if (state && (to !== undefined || leadsBack(stored.state, state))) return { snapshot, state };
    }
    throw new DropdockError('snapshot.unknown', `${repository} has no such snapshot.`);
  }

  #publishedBefore(id: RepositoryId, change: TargetChange): Map<StagedDrop, Flip> {
    const { flips = [] } = this.#repositories.get(id) ?? {};
    const drops = change.kind === 'publish' ? change.drops : [];
    return new Map(
      drops.flatMap((drop) => {
        const { drop: name, at } = drop.origin;
        const flip = flips.find(({ drops: known }) =>
          known.some((each) => each.drop === name && each.at === at),
        );
        return flip ? [[drop, flip] as const] : [];
      }),
    );
  }

  #nowMs(): number {
    return this.#options.nowMs?.() ?? Date.now();
  }

  #clock(): ClockReading {
    return this.#options.clock?.() ?? { id: 'memory', ms: performance.now() };
  }
}

function withoutPublished(
  change: TargetChange,
  before: ReadonlyMap<StagedDrop, Flip>,
): TargetChange {
  if (change.kind !== 'publish') return change;
  return { ...change, drops: change.drops.filter((drop) => !before.has(drop)) };
}

function outcomesOf(
  change: TargetChange,
  before: ReadonlyMap<StagedDrop, Flip>,
  { outcomes }: Plan,
  snapshot: Timestamp | null,
  base: Timestamp | null,
): DropOutcome[] {
  if (change.kind !== 'publish') return [];
  const merged = [...outcomes];
  return change.drops.map((drop): DropOutcome => {
    const { content, ingested } = drop;
    const flip = before.get(drop);
    const of = { content, ingested, leftOut: content.leftOut };
    if (flip) {
      return { status: 'published', snapshot: flip.snapshot, base: null, moves: [], ...of };
    }
    return outcomeOfMerge(drop, merged.shift(), { snapshot, base, leftOut: [] });
  });
}
