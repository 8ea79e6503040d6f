/** Parses a request URL into a view of the page. Pure. Other URLs belong to the registry. */
import { isRepositoryName, type RepositoryName } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';
import { PATHS } from './page-layout.js';

export type PageRoute =
  | { readonly kind: 'home'; readonly filter: string; readonly page: number }
  | { readonly kind: 'sign-in' }
  | { readonly kind: 'inbox' }
  | { readonly kind: 'live'; readonly view: 'brief' | 'full' }
  | {
      readonly kind: 'tags';
      readonly repository: RepositoryName;
      readonly filter: string;
      readonly order: 'tag' | 'age';
      readonly page: number;
    }
  | {
      readonly kind: 'history';
      readonly repository: RepositoryName;
      readonly before: Timestamp | undefined;
    }
  | { readonly kind: 'asset'; readonly path: string }
  /** A path below `/-/` that does not exist. */
  | { readonly kind: 'nothing' };

const URL_BYTES_MAX = 4096;
const FILTER_MAX = 200;

/** @param target the raw request target. @returns undefined if it does not belong to the page */
export function parsePageRoute(target: string): PageRoute | undefined {
  const url = target.replace(/^https?:\/\/[^/?]*/i, '');
  const question = url.indexOf('?');
  const path = question < 0 ? url : url.slice(0, question);
  if (path !== '/' && !path.startsWith('/-/')) return undefined;
  if (url.length > URL_BYTES_MAX) return { kind: 'nothing' };
  const query = new URLSearchParams(question < 0 ? '' : url.slice(question + 1));
  const filter = (query.get('q') ?? '').trim().slice(0, FILTER_MAX);
  const page = Math.min(Math.max(Number.parseInt(query.get('page') ?? '1', 10) || 1, 1), 1e6);
  switch (path) {
    case PATHS.home:
      return query.has('sign-in') ? { kind: 'sign-in' } : { kind: 'home', filter, page };
    case PATHS.inbox:
      return { kind: 'inbox' };
    case PATHS.live:
      return { kind: 'live', view: query.get('view') === 'brief' ? 'brief' : 'full' };
    case PATHS.style:
    case PATHS.script:
    case PATHS.icon:
      return { kind: 'asset', path };
  }
  const repository = nameBelow(PATHS.tags, path);
  if (repository !== undefined) {
    const order = query.get('sort') === 'tag' ? 'tag' : 'age';
    return { kind: 'tags', repository, filter, order, page };
  }
  const remembered = nameBelow(PATHS.history, path);
  if (remembered === undefined) return { kind: 'nothing' };
  const before = query.get('before') ?? '';
  return {
    kind: 'history',
    repository: remembered,
    before: isTimestamp(before) ? before : undefined,
  };
}

/** Repository names need no escaping in a URL, so nothing is decoded; an escaped name is invalid. */
function nameBelow(prefix: string, path: string): RepositoryName | undefined {
  const name = path.slice(prefix.length);
  return path.startsWith(prefix) && isRepositoryName(name) ? name : undefined;
}
