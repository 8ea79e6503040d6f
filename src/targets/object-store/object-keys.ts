/**
 * All keys of a store, below the target's prefix. No other file builds keys.
 *
 *   blobs/<digest>               a config or layer: immutable, shared by all repositories
 *   manifests/<digest>           a manifest, with its media type as Content-Type: immutable. The digest
 *                                of its bytes: `stored`, if the record has one (schema 1)
 *   repos/<id>/<timestamp>.json  a snapshot: the text of `.snapshot.json`; immutable
 *   repos/<id>/current           the pointer: the name of the current snapshot. Written last
 *   app/<id>.json                the redirect file for Crane, written after the flip
 *   clean/deleting.json          objects that a cleaning is deleting (see delete-unused.ts)
 *   clean/last                   its modification time is the end of the last cleaning
 *   clean/ages.json              how long ago flips were, as seen by cleanings (store-ages.ts)
 *   clean/unused.json            objects that cleanings found unused, and how long ago
 *   probe/<name>                 objects that test conditional writes at the start
 */
import type { Digest } from '../../image/digest.js';
import type { RepositoryId } from '../../image/names.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';

export const BLOBS = 'blobs/';
export const MANIFESTS = 'manifests/';
export const REPOSITORIES = 'repos/';
export const PROBES = 'probe/';
export const DELETING_KEY = 'clean/deleting.json';
export const AGES_KEY = 'clean/ages.json';
export const UNUSED_KEY = 'clean/unused.json';
export const CLEANED_KEY = 'clean/last';

export const blobKey = (digest: Digest) => `${BLOBS}${digest}`;
export const manifestKey = (digest: Digest) => `${MANIFESTS}${digest}`;
export const pointerKey = (id: RepositoryId) => `${REPOSITORIES}${id}/current`;
export const redirectKey = (id: RepositoryId) => `app/${id}.json`;

export function snapshotKey(id: RepositoryId, snapshot: Timestamp): string {
  return `${REPOSITORIES}${id}/${snapshot}.json`;
}

/** Parses a key below repos/ into its repository and snapshot; a pointer has no snapshot. */
export function parseRepositoryKey(
  key: string,
): { readonly id: RepositoryId; readonly snapshot: Timestamp | undefined } | undefined {
  const [, id, name = ''] = /^repos\/([^/]+)\/([^/]+)$/.exec(key) ?? [];
  if (id === undefined) return undefined;
  if (name === 'current') return { id: id as RepositoryId, snapshot: undefined };
  const snapshot = name.replace(/\.json$/, '');
  if (!name.endsWith('.json') || !isTimestamp(snapshot)) return undefined;
  return { id: id as RepositoryId, snapshot };
}

/** Readers and CDNs may cache objects named by digest forever, and must revalidate all others. */
export const IMMUTABLE = 'public, max-age=31536000, immutable';
export const FRESH = 'no-cache';
