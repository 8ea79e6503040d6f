/**
 * Answers lookups of single names in a snapshot without rendering it, with the same result as its rendered
 * files. For snapshots that are not directories. Pure.
 */
import type { Digest } from '../image/digest.js';
import { type ManifestKind, MEDIA_TYPES, manifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import { renderReferrers } from './referrers.js';
import { referrersNames, tagsListText } from './render.js';
import { parseSnapshot } from './snapshot-file.js';
import { SnapshotIndex } from './snapshot-index.js';
import type { ManifestRecord } from './state.js';

/** One form of a manifest. */
export type FoundForm = { readonly kind: ManifestKind; readonly mediaType: string } & (
  | {
      readonly digest: Digest;
      /** The hash of its bytes; differs from the digest for a signed Docker schema 1 manifest. */
      readonly stored: Digest;
      /** Bytes. */
      readonly size: number;
    }
  /** A referrers response, for clients that look it up as a tag. */
  | { readonly text: string }
);

interface Responses {
  readonly bySubject: ReadonlyMap<Digest, string>;
  /** The same texts, by the tags and digests that clients without the referrers API use. */
  readonly byName: ReadonlyMap<Tag | Digest, string>;
}

export class SnapshotLookup {
  readonly #index: SnapshotIndex;
  #responses: Responses | undefined;

  /** @param text the content of `.snapshot.json` @throws layout.unsafe */
  constructor(text: Buffer, where: string) {
    this.#index = new SnapshotIndex(text, where);
  }

  get header(): SnapshotIndex['header'] {
    return this.#index.header;
  }

  /** Returns the forms of a tag, the original first; or the manifest with this digest. */
  forms(reference: Digest | Tag): readonly FoundForm[] {
    const tagged = this.#index.entry<{ digest: Digest }>('tags', reference)?.digest;
    const docker = tagged && this.#index.entry<Digest | null>('conversions', tagged);
    const wanted = [tagged ?? (reference as Digest), ...(docker ? [docker] : [])];
    const found = wanted.flatMap((digest) => this.#form(digest) ?? []);
    if (found.length > 0 || tagged !== undefined) return found;
    const text = this.#referrers().byName.get(reference);
    return text === undefined ? [] : [{ kind: 'oci-index', mediaType: MEDIA_TYPES.ociIndex, text }];
  }

  #form(digest: Digest): FoundForm | undefined {
    const record = this.#index.entry<Pick<ManifestRecord, 'mediaType' | 'size' | 'stored'>>(
      'manifests',
      digest,
    );
    if (record === undefined) return undefined;
    const { mediaType, size, stored = digest } = record;
    const kind = manifestKind(mediaType);
    return kind && { kind, mediaType, digest, stored, size };
  }

  /** Returns the size in bytes; undefined if no manifest references the blob. */
  blobSize(digest: Digest): number | undefined {
    return this.#index.entry<number>('blobs', digest);
  }

  tagsList(): string {
    return tagsListText(this.header.repository, this.#index.keys('tags'));
  }

  referrers(subject: Digest): string | undefined {
    return this.#referrers().bySubject.get(subject);
  }

  /** The complete snapshot is parsed only if a manifest has a subject. */
  #referrers(): Responses {
    this.#responses ??= this.#index.bytes.includes('"subject":"')
      ? readResponses(this.#index)
      : { bySubject: new Map(), byName: new Map() };
    return this.#responses;
  }
}

function readResponses({ bytes, where }: SnapshotIndex): Responses {
  const { state } = parseSnapshot(bytes, where);
  const bySubject = renderReferrers(state);
  const byName = new Map(
    [...bySubject].flatMap(([subject, text]) =>
      referrersNames(state, subject, text).map((name) => [name, text] as const),
    ),
  );
  return { bySubject, byName };
}
