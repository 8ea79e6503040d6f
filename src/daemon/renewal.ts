/**
 * What was taken away stays within reach by digest for the grace period, in the snapshot that came
 * after it. When nobody publishes to the repository any more, the cleaning makes the next one.
 */
import type { RepositoryId } from '../image/names.js';
import { type EditResult, editRepository } from '../publish/edit.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { publishContext, type Services } from './services.js';

/** How many manifests this snapshot carries on though their grace period is over. */
export async function countOverdue(
  services: Services,
  id: RepositoryId,
  snapshot: Timestamp,
): Promise<number> {
  const { run, roots, settings, nowMs } = services;
  const { graceMs } = resolveRepositoryById(settings, id);
  const times = await run('carriedBy', { roots, id, snapshot });
  return times.filter((lastMs) => nowMs() - lastMs >= graceMs).length;
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

  /** @returns whether this snapshot carries what is past its grace period */
  async isOverdue(services: Services, id: RepositoryId, snapshot: Timestamp): Promise<boolean> {
    const { run, roots, settings, nowMs } = services;
    let known = this.#known.get(id);
    if (known?.snapshot !== snapshot) {
      const [sinceMs = Number.POSITIVE_INFINITY] = await run('carriedBy', { roots, id, snapshot });
      known = { snapshot, sinceMs };
      this.#known.set(id, known);
    }
    return nowMs() - known.sinceMs >= resolveRepositoryById(settings, id).graceMs;
  }

  /** Forgets repositories that are gone. */
  keepOnly(ids: readonly RepositoryId[]): void {
    const there = new Set(ids);
    for (const id of this.#known.keys()) if (!there.has(id)) this.#known.delete(id);
  }
}
