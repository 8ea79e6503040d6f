/** Parses a request URL into a view of the page. Pure. Other URLs belong to the registry. */
import { type Digest, isDigest } from '../image/digest.js';
import { isRepositoryName, isTag, type RepositoryName, type Tag } from '../image/names.js';
import type { RowOrder } from '../repository/summary.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';
import { PATHS } from './page-layout.js';

export type PageRoute =
  | ({ readonly kind: 'home' } & HomeList)
  | ({ readonly kind: 'live'; readonly view: 'home' } & HomeList)
  | { readonly kind: 'sign-in' }
  | { readonly kind: 'inbox' }
  | { readonly kind: 'live'; readonly view: 'full' }
  | { readonly kind: 'help' }
  | {
      readonly kind: 'tags';
      readonly repository: RepositoryName;
      readonly filter: string;
      readonly order: RowOrder;
      readonly page: number;
    }
  | {
      readonly kind: 'image';
      readonly repository: RepositoryName;
      readonly reference: Tag | Digest;
    }
  | {
      readonly kind: 'history';
      readonly repository: RepositoryName;
      readonly before: Timestamp | undefined;
    }
  | { readonly kind: 'asset'; readonly path: string }
  /** A path below `/-/` that does not exist. */
  | { readonly kind: 'nothing' };

/** Which part of the repositories the home page shows. */
export interface HomeList {
  /** The text that was searched for. */
  readonly filter: string;
  readonly order: 'name' | 'size' | 'age';
  readonly page: number;
}

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
  const sort = query.get('sort');
  const list = { filter, order: sort === 'size' || sort === 'age' ? sort : 'name', page } as const;
  switch (path) {
    case PATHS.home:
      return query.has('sign-in') ? { kind: 'sign-in' } : { kind: 'home', ...list };
    case PATHS.inbox:
      return { kind: 'inbox' };
    case PATHS.live:
      if (query.get('view') !== 'home') return { kind: 'live', view: 'full' };
      return { kind: 'live', view: 'home', ...list };
    case PATHS.help:
      return { kind: 'help' };
    case PATHS.style:
    case PATHS.script:
    case PATHS.icon:
      return { kind: 'asset', path };
  }
  const repository = nameBelow(PATHS.tags, path);
  if (repository !== undefined) {
    const order = sort === 'size' || sort === 'age' ? sort : 'tag';
    return { kind: 'tags', repository, filter, order, page };
  }
  const image = path.startsWith(PATHS.image)
    ? parseImage(path.slice(PATHS.image.length))
    : undefined;
  if (image !== undefined) return image;
  const remembered = nameBelow(PATHS.history, path);
  if (remembered === undefined) return { kind: 'nothing' };
  const before = query.get('before') ?? '';
  return {
    kind: 'history',
    repository: remembered,
    before: isTimestamp(before) ? before : undefined,
  };
}

/** `team/app:1.0` or `team/app@sha256:…` */
function parseImage(text: string): Extract<PageRoute, { kind: 'image' }> | undefined {
  const { repository = '', mark, reference = '' } = IMAGE.exec(text)?.groups ?? {};
  if (!isRepositoryName(repository)) return undefined;
  const isValid = mark === ':' ? isTag(reference) : isDigest(reference);
  return isValid ? { kind: 'image', repository, reference: reference as Tag | Digest } : undefined;
}

const IMAGE = /^(?<repository>[^:@]*)(?<mark>[:@])(?<reference>.*)$/;
/** Roots of other addresses; as the first part of a repository's name they lead to no page. */
const NOT_REPOSITORIES = new Set(['v1', 'v2', 'pulp', '-']);

/**
 * Returns the page that a person means who types the name of a repository or image as a path: `/team/web`.
 * Undefined for every other path, and for clients that do not ask for HTML.
 */
export function typedAddress(target: string, accept: string | undefined): string | undefined {
  if (!/\btext\/html\b/i.test(accept ?? '') || target.length > URL_BYTES_MAX) return undefined;
  const text = target.replace(/[?#].*$/s, '').replace(/^\/|\/$/g, '');
  if (NOT_REPOSITORIES.has(text.split('/')[0] ?? '')) return undefined;
  if (isRepositoryName(text)) return `${PATHS.tags}${text}`;
  return parseImage(text) && `${PATHS.image}${text}`;
}

/** Repository names need no escaping in a URL, so nothing is decoded; an escaped name is invalid. */
function nameBelow(prefix: string, path: string): RepositoryName | undefined {
  const name = path.slice(prefix.length);
  return path.startsWith(prefix) && isRepositoryName(name) ? name : undefined;
}
