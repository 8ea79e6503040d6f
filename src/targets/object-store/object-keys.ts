/**
 * Every key of a store, drawn once, below the target's prefix. No other file makes them.
 *
 *   blobs/<digest>               a config or layer: never changes, shared by all repositories
 *   manifests/<digest>           a manifest, with its media type as Content-Type; likewise. The digest
 *                                is that of its bytes: `stored`, where a record has one (schema 1)
 *   repos/<id>/<timestamp>.json  a snapshot: the text of `.snapshot.json`; never changes
 *   repos/<id>/current           the pointer: says which snapshot is current. Replaced last
 *   app/<id>.json                the redirect file for Crane, written after the flip
 *   clean/deleting.json          what a cleaning deletes at this moment (see deleting.ts)
 *   clean/last                   when the last cleaning ended: its own time
 *   clean/ages.json              how long ago flips were, as cleanings know (see ages.ts)
 *   clean/unused.json            what cleanings have seen unused, and how long ago
 *   probe/<name>                 what a start tries the store's conditions with
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

/** Which repository a key below repos/ belongs to, and which snapshot it is; none for a pointer. */
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

/** Readers and CDNs may keep what a digest names for ever, and must ask for the rest. */
export const IMMUTABLE = 'public, max-age=31536000, immutable';
export const FRESH = 'no-cache';
