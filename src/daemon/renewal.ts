/**
 * What was taken away stays within reach by digest for the grace period, in the snapshot that came
 * after it. When nobody publishes to the repository any more, the cleaning makes the next one.
 */
import type { RepositoryId } from '../image/names.js';
import { type EditResult, editRepository } from '../publish/edit.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { publishContext, type Services } from './services.js';

/**
 * How many manifests this snapshot carries on though their grace period is over.
 * @param expiredMs what is carried since the snapshot of this name, or an earlier one; see `planClean`
 */
export async function countOverdue(
  { run, roots }: Services,
  id: RepositoryId,
  snapshot: Timestamp,
  expiredMs: number,
): Promise<number> {
  const times = await run('carriedBy', { roots, id, snapshot });
  return times.filter((sinceMs) => sinceMs <= expiredMs).length;
}

/** @throws what keeps a publish from its flip; then nothing has changed */
export function renewSnapshot(services: Services, id: RepositoryId): Promise<EditResult> {
  const policy = resolveRepositoryById(services.settings, id);
  return editRepository(publishContext(services), policy, { kind: 'clean' });
}

/**
 * Since when each repository's current snapshot carries something: a snapshot never changes, so of
 * thousands of idle repositories each is read once.
 */
export class CarriedWatch {
  readonly #known = new Map<RepositoryId, { snapshot: Timestamp; sinceMs: number }>();

  /** @returns whether this snapshot carries what is past its grace period; see `countOverdue` */
  async isOverdue(
    { run, roots }: Services,
    id: RepositoryId,
    snapshot: Timestamp,
    expiredMs: number,
  ): Promise<boolean> {
    let known = this.#known.get(id);
    if (known?.snapshot !== snapshot) {
      const [sinceMs = Number.NaN] = await run('carriedBy', { roots, id, snapshot });
      known = { snapshot, sinceMs };
      this.#known.set(id, known);
    }
    return known.sinceMs <= expiredMs;
  }

  /** Forgets repositories that are gone. */
  keepOnly(ids: readonly RepositoryId[]): void {
    const there = new Set(ids);
    for (const id of this.#known.keys()) if (!there.has(id)) this.#known.delete(id);
  }
}
