/** What the settings say about one repository: all patterns that match, the later over the earlier. */
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
  /** The users who may read it when it is protected; left out for all of them. */
  readonly readers?: readonly string[];
  readonly immutableTags: readonly string[];
  readonly urlTemplate: string;
  readonly redirectOci: Settings['redirect']['oci'];
  readonly keep: number;
  readonly graceMs: number;
  /** Where it is published to; without doubles. */
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
    // Whoever names readers means that others are none.
    protected: own.protected ?? own.readers !== undefined,
    ...(own.readers && { readers: own.readers }),
    immutableTags: Array.isArray(immutableTags) ? immutableTags : immutableTags ? ['*'] : [],
    urlTemplate: own.url ?? settings.redirect.url,
    redirectOci: settings.redirect.oci,
    keep: own.keep ?? settings.retention.keep,
    graceMs: settings.retention.grace,
    targets: [...new Set(own.targets ?? [LOCAL_TARGET])],
  };
}

/**
 * The settings of a repository known by its id only. An id given in the settings stands for the
 * repository that was given it by name; every other id is a name with `~` for `/`.
 */
export function resolveRepositoryById(settings: Settings, id: RepositoryId): ResolvedRepository {
  const named = Object.entries(settings.repositories).find(([, values]) => values.id === id)?.[0];
  return resolveRepository(settings, (named ?? id.replaceAll('~', '/')) as RepositoryName);
}

/** Patterns of repositories are those of tags. */
export const matchesRepository = matchesPattern;
