/**
 * Decides which caller may read which repository. Forbidden and absent repositories give the same response.
 * Pure.
 */
import type { Caller } from '../auth/gate.js';
import type { RepositoryId } from '../image/names.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { Refusal } from './refusal.js';

/**
 * The id under which forbidden repositories are looked up, so that the lookup takes as long as for an absent
 * one. It begins with a dot, so no repository can have it.
 */
export const NOBODYS_ID = '.nobody' as RepositoryId;

export class Permission {
  readonly #anonymous: boolean;
  /** The readers of each protected repository; undefined if every user may read it. */
  readonly #protections: readonly (readonly string[] | undefined)[];
  /** Some repositories are restricted: then anonymous callers must not learn what exists. */
  readonly hasSecrets: boolean;

  constructor({ registry, repositories }: Settings) {
    this.#anonymous = registry.anonymous;
    this.#protections = Object.values(repositories)
      .filter((each) => each.protected === true || each.readers !== undefined)
      .map(({ readers }) => readers);
    const protects = this.#protections.length > 0;
    this.hasSecrets = registry.htpasswd !== null && (protects || !registry.anonymous);
  }

  mayRead(caller: Caller, policy: Pick<ResolvedRepository, 'protected' | 'readers'>): boolean {
    if (!policy.protected) return caller.kind === 'user' || this.#anonymous;
    if (caller.kind !== 'user') return false;
    return policy.readers === undefined || policy.readers.includes(caller.name);
  }

  /** A caller that may read every repository may also see drops that name no repository. */
  mayReadAll(caller: Caller): boolean {
    if (caller.kind !== 'user') return this.#anonymous && this.#protections.length === 0;
    return this.#protections.every((readers) => readers?.includes(caller.name) ?? true);
  }

  /** Absent or forbidden: the response does not tell which. */
  unknown(caller: Caller): Refusal {
    return caller.kind === 'anonymous' && this.hasSecrets
      ? { status: 401, code: 'UNAUTHORIZED' }
      : { status: 404, code: 'NAME_UNKNOWN' };
  }
}
