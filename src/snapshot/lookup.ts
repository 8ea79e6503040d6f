/**
 * What a snapshot answers to one name, without rendering it: the same as its rendered files hold.
 * For whoever serves a snapshot that is no directory. Pure.
 */
import type { Digest } from '../image/digest.js';
import { type ManifestKind, MEDIA_TYPES, manifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import { renderReferrers } from './referrers.js';
import { referrersNames, renderTagsList } from './render.js';
import type { RepositoryState } from './state.js';

/** One form in which a manifest can be had. */
export type FoundForm = { readonly kind: ManifestKind; readonly mediaType: string } & (
  | {
      readonly digest: Digest;
      /** What its bytes hash to; not its digest where it is a signed Docker schema 1. */
      readonly stored: Digest;
      /** Bytes. */
      readonly size: number;
    }
  /** A referrers response, for clients that look for it under a tag. */
  | { readonly text: string }
);

export class SnapshotLookup {
  #blobs: ReadonlyMap<Digest, number> | undefined;
  #referrers: ReadonlyMap<Digest, string> | undefined;
  #named: ReadonlyMap<Tag | Digest, string> | undefined;

  constructor(readonly state: RepositoryState) {}

  /** What is under a tag, the original first; or what a digest names. */
  forms(reference: Digest | Tag): readonly FoundForm[] {
    const { tags, conversions } = this.state;
    const tagged = tags.get(reference as Tag)?.digest;
    const docker = tagged === undefined ? undefined : conversions.get(tagged);
    const wanted = [tagged ?? (reference as Digest), ...(docker ? [docker] : [])];
    const found = wanted.flatMap((digest) => this.#form(digest) ?? []);
    if (found.length > 0 || tagged !== undefined) return found;
    const text = this.#texts().get(reference);
    return text === undefined ? [] : [{ kind: 'oci-index', mediaType: MEDIA_TYPES.ociIndex, text }];
  }

  #form(digest: Digest): FoundForm | undefined {
    const record = this.state.manifests.get(digest);
    if (record === undefined) return undefined;
    const { mediaType, size, stored = digest } = record;
    const kind = manifestKind(mediaType);
    return kind && { kind, mediaType, digest, stored, size };
  }

  /** Bytes; undefined for what none of its manifests names. */
  blobSize(digest: Digest): number | undefined {
    this.#blobs ??= new Map(
      [...this.state.manifests.values()].flatMap(({ blobs }) =>
        blobs.map((blob) => [blob.digest, blob.size] as const),
      ),
    );
    return this.#blobs.get(digest);
  }

  tagsList(): string {
    return renderTagsList(this.state);
  }

  referrers(subject: Digest): string | undefined {
    return this.#responses().get(subject);
  }

  #responses(): ReadonlyMap<Digest, string> {
    this.#referrers ??= renderReferrers(this.state);
    return this.#referrers;
  }

  #texts(): ReadonlyMap<Tag | Digest, string> {
    this.#named ??= new Map(
      [...this.#responses()].flatMap(([subject, text]) =>
        referrersNames(this.state, subject, text).map((name) => [name, text] as const),
      ),
    );
    return this.#named;
  }
}
