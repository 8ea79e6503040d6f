/** The settings of one repository, merged from all matching patterns; a later pattern overrides. */
import {
  defaultRepositoryId,
  parseRepositoryId,
  type RepositoryId,
  type RepositoryName,
} from '../image/names.js';
import { matchesPattern } from '../image/pattern.js';
import type { RepositorySettings, Settings } from './schema.js';
import { LOCAL_TARGET } from './target-settings.js';

export interface ResolvedRepository {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly mode: 'merge' | 'replace';
  readonly protected: boolean;
  /** The users that may read a protected repository; absent: all users. */
  readonly readers?: readonly string[];
  readonly immutableTags: readonly string[];
  readonly urlTemplate: string;
  readonly redirectOci: Settings['redirect']['oci'];
  readonly keep: number;
  readonly graceMs: number;
  /** Names of the targets it is published to, without duplicates. */
  readonly targets: readonly string[];
}

export function resolveRepository(
  settings: Settings,
  repository: RepositoryName,
): ResolvedRepository {
  const own: RepositorySettings = Object.assign(
    {},
    ...Object.entries(settings.repositories)
      .filter(([pattern]) => matchesRepository(pattern, repository))
      .map(([, values]) => values),
  );
  const { immutableTags = false } = own;
  return {
    repository,
    id: own.id === undefined ? defaultRepositoryId(repository) : parseRepositoryId(own.id),
    mode: own.mode ?? 'merge',
    protected: isProtected(own),
    ...(own.readers && { readers: own.readers }),
    immutableTags: Array.isArray(immutableTags) ? immutableTags : immutableTags ? ['*'] : [],
    urlTemplate: own.url ?? settings.redirect.url,
    redirectOci: settings.redirect.oci,
    keep: own.keep ?? settings.retention.keep,
    graceMs: settings.retention.grace,
    targets: [...new Set(own.targets ?? [LOCAL_TARGET])],
  };
}

/** A list of readers implies that all others may not read. */
export function isProtected({ protected: wanted, readers }: RepositorySettings): boolean {
  return wanted ?? readers !== undefined;
}

/**
 * Returns the settings of the repository with this id. An id from the settings belongs to the repository
 * that sets it; every other id is the name with `~` for `/`.
 */
export function resolveRepositoryById(settings: Settings, id: RepositoryId): ResolvedRepository {
  const named = Object.entries(settings.repositories).find(([, values]) => values.id === id)?.[0];
  return resolveRepository(settings, (named ?? id.replaceAll('~', '/')) as RepositoryName);
}

/** Repository patterns use the syntax of tag patterns. */
export const matchesRepository = matchesPattern;
