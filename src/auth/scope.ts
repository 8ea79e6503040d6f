/**
 * What a token is good for, as the distribution project's token specification has it: in a query and
 * in a challenge a text (`repository:team/app:pull`), in a token an object. Pure. This registry has
 * two things to give: to pull from a repository, and to read the catalog. Whatever else is asked for
 * (a push, a type it does not know, a name no repository can have) is left out, as the specification
 * wants it.
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

/** @param scopes each may hold several, with spaces in between: so a form has them */
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

/** Reads the claim of a token that was signed here. @returns undefined for what is none */
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
