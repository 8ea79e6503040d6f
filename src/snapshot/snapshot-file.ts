/** `.snapshot.json`: a repository's state in text, sorted, so that it can be compared and kept. */
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { RedirectOci } from './render.js';
import type { ManifestRecord, Origin, RepositoryState } from './state.js';

const VERSION = 1;

/** Why a snapshot was made. It tells a drop that was published before a crash from one that was not. */
export interface SnapshotReason {
  readonly why: 'publish' | 'rollback' | 'untag' | 'remove';
  /** Which snapshot was rolled back to, or which tags were taken away. */
  readonly detail?: string;
  readonly drops: readonly Origin[];
}

/** What a snapshot records besides its state. */
export interface SnapshotHeader {
  readonly snapshot: string;
  readonly base: string | null;
  readonly reason: SnapshotReason;
  readonly freshTime: number;
  readonly redirectOci: RedirectOci;
}

export interface StoredSnapshot extends SnapshotHeader {
  readonly state: RepositoryState;
}

interface Document {
  version: number;
  repository: string;
  id: string;
  snapshot: string;
  base: string | null;
  reason: SnapshotReason;
  freshTime: number;
  redirectOci: RedirectOci;
  tags: Record<string, { digest: string; mediaType: string; size: number; from: Origin }>;
  untagged: Record<string, Origin>;
  manifests: Record<string, Omit<ManifestRecord, 'blobs'> & { blobs: string[] }>;
  removed?: true;
  /** Sizes in bytes. */
  blobs: Record<string, number>;
  carried: Record<string, number>;
  conversions: Record<string, string | null>;
}

export function serialiseSnapshot(state: RepositoryState, header: SnapshotHeader): string {
  const blobs = new Map<string, number>();
  const manifests = sorted(state.manifests).map(([digest, record]) => {
    for (const blob of record.blobs) blobs.set(blob.digest, blob.size);
    return [digest, { ...record, blobs: record.blobs.map((blob) => blob.digest) }] as const;
  });
  const tags = sorted(state.tags).map(([tag, { digest, from }]) => {
    const { mediaType = '', size = 0 } = state.manifests.get(digest) ?? {};
    return [tag, { digest, mediaType, size, from }] as const;
  });
  const document: Document = {
    version: VERSION,
    repository: state.repository,
    id: state.id,
    snapshot: header.snapshot,
    base: header.base,
    reason: header.reason,
    freshTime: header.freshTime,
    redirectOci: header.redirectOci,
    // fromEntries, not assignment: `__proto__` is a legal tag.
    tags: Object.fromEntries(tags),
    untagged: Object.fromEntries(sorted(state.untagged)),
    manifests: Object.fromEntries(manifests),
    blobs: Object.fromEntries(sorted(blobs)),
    ...(state.removed && { removed: true }),
    carried: Object.fromEntries(sorted(state.carried)),
    conversions: Object.fromEntries(sorted(state.conversions)),
  };
  return `${JSON.stringify(document, undefined, 1)}\n`;
}

/**
 * Reads what `serialiseSnapshot` wrote. The file is ours, synced before anyone could see it, so
 * only its version is checked here; `dropdock verify` checks the rest.
 * @throws layout.unsafe
 */
export function parseSnapshot(bytes: Buffer, where: string): StoredSnapshot {
  let document: Document;
  try {
    document = JSON.parse(bytes.toString('utf8')) as Document;
  } catch (cause) {
    throw new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
  }
  if (document.version !== VERSION) {
    throw new DropdockError('layout.unsafe', `${where} was written by another version.`, {
      path: where,
    });
  }
  const blobs = (digests: readonly string[]) =>
    digests.map((digest) => ({ digest: digest as Digest, size: document.blobs[digest] ?? 0 }));
  const entries = <V>(record: Record<string, V>) => Object.entries(record);
  return {
    snapshot: document.snapshot,
    base: document.base,
    reason: document.reason,
    freshTime: document.freshTime,
    redirectOci: document.redirectOci,
    state: {
      repository: document.repository as RepositoryName,
      id: document.id as RepositoryId,
      tags: new Map(
        entries(document.tags).map(([tag, { digest, from }]) => [
          tag as Tag,
          { digest: digest as Digest, from },
        ]),
      ),
      untagged: new Map(entries(document.untagged) as [Digest, Origin][]),
      manifests: new Map(
        entries(document.manifests).map(([digest, record]) => [
          digest as Digest,
          { ...record, blobs: blobs(record.blobs) },
        ]),
      ),
      ...(document.removed && { removed: true }),
      carried: new Map(entries(document.carried) as [Digest, number][]),
      conversions: new Map(entries(document.conversions) as [Digest, Digest | null][]),
    },
  };
}

function sorted<K extends string, V>(map: ReadonlyMap<K, V>): [K, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
