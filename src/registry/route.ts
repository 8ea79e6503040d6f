/**
 * Maps a request to an endpoint of the distribution spec. Pure. Names, tags and digests are checked against
 * their grammars first, so no unchecked text becomes part of a path.
 */
import { type Digest, isDigest } from '../image/digest.js';
import type { ManifestKind } from '../image/media-types.js';
import {
  isRepositoryId,
  isRepositoryName,
  isTag,
  type RepositoryId,
  type RepositoryName,
  type Tag,
} from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';
import type { Refusal } from './refusal.js';

export type Route =
  /** end-1 */
  | { readonly kind: 'base' }
  /** end-2 */
  | { readonly kind: 'blob'; readonly repository: RepositoryName; readonly digest: Digest }
  /** end-3 */
  | {
      readonly kind: 'manifest';
      readonly repository: RepositoryName;
      readonly reference: Digest | Tag;
      /** The required form; undefined for any form that the client accepts. */
      readonly form?: ManifestKind;
    }
  /** end-8a, end-8b */
  | ({ readonly kind: 'tags'; readonly repository: RepositoryName } & Page)
  /** end-12a, end-12b */
  | {
      readonly kind: 'referrers';
      readonly repository: RepositoryName;
      readonly digest: Digest;
      readonly artifactType: string | undefined;
      readonly last: string | undefined;
    }
  /** Crane redirects here: a path of the published tree by repository id, as web servers serve it. */
  | ({ readonly kind: 'tree'; readonly blob: Digest } & TreePlace)
  | ({
      readonly kind: 'tree';
      readonly form: ManifestKind;
      readonly reference: Digest | Tag;
    } & TreePlace)
  /** Docker's catalog. No version of the spec has it, but `skopeo sync` and mirrors use it. */
  | ({ readonly kind: 'catalog' } & Page)
  /** The token endpoint. It is below /v2/, so that a proxy that forwards /v2/ also forwards it. */
  | { readonly kind: 'token'; readonly query: URLSearchParams };

export interface TreePlace {
  readonly id: RepositoryId;
  /** Undefined for the current snapshot. */
  readonly snapshot: Timestamp | undefined;
}

/** The requested part of a list. */
export interface Page {
  /** The maximum number of items; undefined for all. */
  readonly n: number | undefined;
  /** Return the items after this one. */
  readonly last: string | undefined;
}

const URL_BYTES_MAX = 4096;

/** @param target the raw request target: path and query, not decoded */
export function parseRoute(target: string): Route | Refusal {
  // RFC 9112, 3.2.2: a server must accept the absolute form, although clients send it only to proxies.
  const url = target.replace(/^https?:\/\/[^/?]*/i, '');
  if (url.length > URL_BYTES_MAX) return { status: 404, code: 'NAME_UNKNOWN' };
  const question = url.indexOf('?');
  const path = question < 0 ? url : url.slice(0, question);
  const query = new URLSearchParams(question < 0 ? '' : url.slice(question + 1));
  const parts = path.split('/').map(decodePart);
  if (parts.some((part) => part === undefined)) return { status: 400, code: 'NAME_INVALID' };
  return parseParts(parts as string[], query);
}

/** Returns undefined for an invalid path segment: `%2f` is not a separator, and no name contains NUL. */
function decodePart(text: string): string | undefined {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    return undefined;
  }
  return /[/\0]/.test(decoded) ? undefined : decoded;
}

function parseParts([root, version, ...rest]: string[], query: URLSearchParams): Route | Refusal {
  if (root === '' && version === 'pulp') return parseTree(rest);
  if (root !== '' || version !== 'v2') return { status: 404, code: 'NAME_UNKNOWN' };
  if (rest.length === 0 || (rest.length === 1 && rest[0] === '')) return { kind: 'base' };
  if (rest.length === 1 && rest[0] === '_catalog') return withPage({ kind: 'catalog' }, query);
  if (rest.length === 1 && rest[0] === 'token') return { kind: 'token', query };
  const [kind, last = ''] = rest.slice(-2);
  const repository = rest.slice(0, -2).join('/');
  if (!KINDS.has(kind ?? '')) return { status: 404, code: 'NAME_UNKNOWN' };
  if (!isRepositoryName(repository)) {
    return { status: 400, code: 'NAME_INVALID', detail: { name: repository } };
  }
  switch (kind) {
    case 'manifests':
      if (isDigest(last) || isTag(last)) return { kind: 'manifest', repository, reference: last };
      return last.includes(':')
        ? { status: 400, code: 'DIGEST_INVALID', detail: { digest: last } }
        : { status: 404, code: 'MANIFEST_UNKNOWN', detail: { name: repository, reference: last } };
    case 'tags':
      if (last !== 'list') return { status: 404, code: 'NAME_UNKNOWN' };
      return withPage({ kind: 'tags', repository }, query);
    default:
      if (!isDigest(last)) {
        return { status: 400, code: 'DIGEST_INVALID', detail: { digest: last } };
      }
      if (kind === 'blobs') return { kind: 'blob', repository, digest: last };
      return {
        kind: 'referrers',
        repository,
        digest: last,
        artifactType: query.get('artifactType') || undefined,
        last: query.get('last') ?? undefined,
      };
  }
}

/**
 * Pulp's paths: `/pulp/docker/v2/<id>/manifests/2/<tag>`. If redirect.url in the settings names the snapshot:
 * `/pulp/docker/snapshots/<id>/<snapshot>/manifests/2/<tag>`.
 */
function parseTree([docker, below, id = '', ...path]: string[]): Route | Refusal {
  const unknown = { status: 404, code: 'NAME_UNKNOWN' } as const;
  const isNamed = below === 'snapshots';
  if (docker !== 'docker' || !(isNamed || below === 'v2') || !isRepositoryId(id)) return unknown;
  const snapshot = isNamed ? path.shift() : undefined;
  if (isNamed && !isTimestamp(snapshot ?? '')) return unknown;
  const place = { kind: 'tree', id, snapshot: snapshot as Timestamp | undefined } as const;
  const [kind, first = '', reference = '', ...more] = path;
  if (kind === 'blobs' && path.length === 2 && isDigest(first)) return { ...place, blob: first };
  const isReference = isDigest(reference) || isTag(reference);
  if (kind !== 'manifests' || more.length > 0 || !isKind(first) || !isReference) return unknown;
  return { ...place, form: first, reference };
}

function isKind(text: string): text is ManifestKind {
  return ['1', '2', 'list', 'oci', 'oci-index'].includes(text);
}

const KINDS = new Set(['manifests', 'blobs', 'tags', 'referrers']);

function withPage<T>(route: T, query: URLSearchParams): (T & Page) | Refusal {
  const n = query.get('n');
  const last = query.get('last') ?? undefined;
  if (n === null) return { ...route, n: undefined, last };
  if (!/^\d{1,15}$/.test(n)) {
    return { status: 400, code: 'PAGINATION_NUMBER_INVALID', message: 'n must be a number.' };
  }
  return { ...route, n: Number(n), last };
}
