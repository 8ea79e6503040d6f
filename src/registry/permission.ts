/** Who may read what, and what the others are told: one answer for forbidden and for absent. Pure. */
import type { Caller } from '../auth/gate.js';
import type { RepositoryId } from '../image/names.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { Refusal } from './refusal.js';

/**
 * What may not be read is looked for under a name that nobody can have, so that it takes as long as
 * what is absent: it begins with a dot, as no repository's id does.
 */
export const NOBODYS_ID = '.nobody' as RepositoryId;

export class Permission {
  readonly #anonymous: boolean;
  /** The readers of all repositories that have some; undefined where every user is one. */
  readonly #protections: readonly (readonly string[] | undefined)[];
  /** Something here is not for everybody: then nobody without a name is told what exists. */
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

  /** Whoever may read every repository, whatever patterns it matches, may know what names none. */
  mayReadAll(caller: Caller): boolean {
    if (caller.kind !== 'user') return this.#anonymous && this.#protections.length === 0;
    return this.#protections.every((readers) => readers?.includes(caller.name) ?? true);
  }

  /** Absent, or not for this caller: it is not told which. */
  unknown(caller: Caller): Refusal {
    return caller.kind === 'anonymous' && this.hasSecrets
      ? { status: 401, code: 'UNAUTHORIZED' }
      : { status: 404, code: 'NAME_UNKNOWN' };
  }
}
