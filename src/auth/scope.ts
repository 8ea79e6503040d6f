/**
 * The scope of a token, as in the distribution project's token specification: text in a query and in a
 * challenge (`repository:team/app:pull`), an object in a token. Pure. This registry grants two kinds of
 * access: pulling from a repository and reading the catalog. Any other requested scope (push, an unknown
 * type, an invalid name) is ignored, as the specification requires.
 */
import * as v from 'valibot';
import { isRepositoryName, type RepositoryName } from '../image/names.js';

export interface Access {
  readonly type: 'repository' | 'registry';
  readonly name: string;
  readonly actions: readonly string[];
}

export const CATALOG_ACCESS: Access = { type: 'registry', name: 'catalog', actions: ['*'] };

export function pullAccess(repository: RepositoryName): Access {
  return { type: 'repository', name: repository, actions: ['pull'] };
}

export function formatScope({ type, name, actions }: Access): string {
  return `${type}:${name}:${actions.join(',')}`;
}

/** @param scopes each may contain several scopes separated by spaces, as in a form */
export function parseScopes(scopes: readonly string[]): Access[] {
  const found = new Map<string, Access>();
  for (const text of scopes.flatMap((each) => each.split(/\s+/))) {
    const access = parseScope(text);
    if (access !== undefined) found.set(formatScope(access), access);
  }
  return [...found.values()];
}

function parseScope(text: string): Access | undefined {
  const [, type, name = '', actions = ''] = /^([a-z]+):(.+):([a-z*,]*)$/.exec(text) ?? [];
  const wanted = actions.split(',');
  if (type === 'registry' && name === CATALOG_ACCESS.name && wanted.includes('*')) {
    return CATALOG_ACCESS;
  }
  const mayBePulled = wanted.includes('pull') || wanted.includes('*');
  if (type !== 'repository' || !isRepositoryName(name) || !mayBePulled) return undefined;
  return pullAccess(name);
}

const accesses = v.array(
  v.object({
    type: v.picklist(['repository', 'registry']),
    name: v.string(),
    actions: v.array(v.string()),
  }),
);

/** Parses the access claim of a token signed here. @returns undefined if it is invalid */
export function parseAccess(claim: unknown): Access[] | undefined {
  const read = v.safeParse(accesses, claim);
  return read.success ? read.output : undefined;
}

export function includesAccess(all: readonly Access[], wanted: Access): boolean {
  return all.some(
    ({ type, name, actions }) =>
      type === wanted.type &&
      name === wanted.name &&
      wanted.actions.every((action) => actions.includes(action)),
  );
}
