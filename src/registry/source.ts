/**
 * What the endpoint answers from: a tree in a directory, or one on an object store. The routes know
 * this and no more. A snapshot never changes, so what was read of one may be remembered; which is
 * current is asked for every request.
 */
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import type { ManifestKind } from '../image/media-types.js';
import type { RepositoryId, RepositoryName, Tag } from '../image/names.js';
import type { SnapshotChanges } from '../repository/snapshot-changes.js';
import type { SnapshotFacts, SnapshotSummary } from '../repository/summary.js';
import type { Timestamp } from '../repository/timestamp.js';
import type { Body, Part } from './body.js';

export interface Source {
  /** The snapshot that is current now; undefined where no repository has this id. */
  current(id: RepositoryId): Promise<ServedSnapshot | undefined>;
  /** One that is kept, current or not; undefined where there is none, if that is known so early. */
  at(of: ServedSnapshot['of']): Promise<ServedSnapshot | undefined>;
  /** Of every repository there is, in no order. */
  ids(): Promise<readonly RepositoryId[]>;
  /** For people. */
  readonly browse: Browse;
}

export interface ServedSnapshot {
  /** `<id>/<timestamp>` */
  readonly path: string;
  readonly of: { readonly id: RepositoryId; readonly name: Timestamp };
  /**
   * Asked before something is said not to be there. False for a snapshot that is not the last word:
   * it was cleaned away, or another is current since.
   */
  stands(): Promise<boolean>;
  /** Asked before a list is said to be empty. False for a snapshot that was cleaned away. */
  exists(): Promise<boolean>;
  /** Whose snapshot this is: ids can be given to another repository in the settings (I8). */
  repository(): Promise<RepositoryName | undefined>;
  /** True for one that only keeps what pulls under way may still ask for, by digest. */
  isRemoved(): Promise<boolean>;
  /** The forms in which a tag can be had, or the manifest with this digest; none where unknown. */
  manifests(reference: Digest | Tag): Promise<readonly ServedManifest[]>;
  /** Undefined where the snapshot does not have it (I8). The caller sends it or closes it. */
  blob(digest: Digest): Promise<ServedBlob | undefined>;
  tagsList(): Promise<ServedText | undefined>;
  referrers(subject: Digest): Promise<ServedText | undefined>;
}

/** A manifest in one form. */
export interface ServedManifest {
  readonly kind: ManifestKind;
  readonly mediaType: string;
  readonly digest: Digest;
  /** As it is stored; undefined where it is gone. */
  read(): Promise<Buffer | undefined>;
}

/** A text that dropdock made, and its own digest for a strong ETag. */
export interface ServedText {
  readonly bytes: Buffer;
  readonly digest: Digest;
}

export interface ServedBlob {
  /** Bytes. */
  readonly size: number;
  /** What a server sends of it. Closes it when that is sent. */
  send(part: Part): Promise<Body>;
  /**
   * The bytes of these parts, one part after the other; no piece belongs to two of them. Closes it
   * when they are read, or when the reader stops. Be done with a piece before asking for the next.
   */
  pieces(parts: readonly Part[]): Promise<AsyncIterable<Buffer>>;
  readAll(): Promise<Buffer>;
  close(): Promise<void>;
  /** Where whoever has this URL can read it for a while; left out where there is no such place. */
  signedUrl?(): Promise<string>;
}

/** What people are shown of snapshots. @throws layout.unsafe */
export interface Browse {
  /** Undefined for a snapshot that is gone. */
  facts(of: ServedSnapshot['of']): Promise<SnapshotFacts | undefined>;
  /** Undefined for a snapshot that is gone. */
  summary(of: ServedSnapshot['of']): Promise<SnapshotSummary | undefined>;
  /** From this snapshot back through those it was built on, as far as they are kept. */
  changes(of: ServedSnapshot['of'], count: number): Promise<readonly SnapshotChanges[]>;
}

/** Whether a source failed because the store behind it does not answer, or refuses to. */
export function isAway(error: unknown): boolean {
  return error instanceof DropdockError && error.code === 'target.failed';
}
