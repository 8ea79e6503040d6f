/**
 * Walks from the images of a drop to everything they refer to. All formats share this; a format only locates
 * the file of a digest.
 */
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import {
  INDEX_DEPTH_MAX,
  MANIFEST_BYTES_MAX,
  MANIFESTS_PER_DROP_MAX,
  MANIFESTS_TOTAL_BYTES_MAX,
} from '../image/limits.js';
import { type Descriptor, parseManifest, platformName, UNKNOWN_SIZE } from '../image/manifest.js';
import { isForeignLayer, manifestKind } from '../image/media-types.js';
import type {
  BlobSource,
  LeftOut,
  Missing,
  StagedBlob,
  StagedManifest,
} from '../image/staged-content.js';
import {
  checkAnnounced,
  checkBlobLimit,
  checkBytes,
  checkLength,
  checkManifestBytes,
} from './check-content.js';
import type { Bundle, PublishedContent } from './file-source.js';

export interface Graph {
  readonly manifests: readonly StagedManifest[];
  readonly blobs: readonly StagedBlob[];
  readonly missing: readonly Missing[];
  readonly leftOut: readonly LeftOut[];
}

/** Returns the path where a format keeps the content of a digest. */
export interface Locate {
  manifest(digest: Digest): string;
  blob(digest: Digest): string;
}

/** How the walk reached a node of the graph. */
interface Way {
  /** The parent that refers to this node. */
  readonly by: string;
  readonly chain: readonly Digest[];
  /** True for an entry of an index: its platform may be absent. */
  readonly inIndex: boolean;
}

/**
 * @throws every content error that more data cannot fix; content that may still arrive is in `missing`
 */
export function readGraph(
  roots: readonly { readonly descriptor: Descriptor; readonly by: string }[],
  bundle: Bundle,
  locate: Locate,
  published: PublishedContent,
): Graph {
  const walk = new GraphWalk(bundle, locate, published);
  for (const { descriptor, by } of roots) {
    walk.visitManifest(descriptor, { by, chain: [], inIndex: false });
  }
  return walk.result();
}

class GraphWalk {
  readonly #manifests = new Map<Digest, StagedManifest>();
  readonly #blobs = new Map<Digest, StagedBlob>();
  readonly #missing = new Map<string, Missing>();
  readonly #leftOut = new Map<string, LeftOut>();
  #manifestBytes = 0;

  constructor(
    readonly bundle: Bundle,
    readonly locate: Locate,
    readonly published: PublishedContent,
  ) {}

  result(): Graph {
    return {
      manifests: [...this.#manifests.values()],
      blobs: [...this.#blobs.values()],
      missing: [...this.#missing.values()],
      leftOut: [...this.#leftOut.values()],
    };
  }

  /** @returns true if the manifest exists (its references may still be missing) */
  visitManifest(descriptor: Descriptor, way: Way): boolean {
    const { digest } = descriptor;
    if (way.chain.includes(digest)) {
      throw new DropdockError('index.cycle', `Index ${digest} contains itself.`, { digest });
    }
    if (way.chain.length > INDEX_DEPTH_MAX) {
      throw new DropdockError(
        'index.too-deep',
        `${digest} is nested more than ${INDEX_DEPTH_MAX} indexes deep.`,
        { digest },
      );
    }
    const seen = this.#manifests.get(digest);
    if (seen) {
      checkLength(descriptor, seen.size, this.locate.manifest(digest));
      checkAnnounced(descriptor, seen.manifest.mediaType);
      return true;
    }
    const found = this.#readManifest(descriptor, way);
    if (found === undefined) return false;
    const { bytes, source } = found;
    const manifest = parseManifest(bytes, descriptor.mediaType || undefined, digest);
    const chain = [...way.chain, digest];
    this.#visitReferences(manifest, digest, chain);
    const stored = checkManifestBytes(bytes, manifest, digest, this.locate.manifest(digest));
    this.#manifestBytes += bytes.length;
    const isTooMuch = this.#manifestBytes > MANIFESTS_TOTAL_BYTES_MAX;
    if (this.#manifests.size >= MANIFESTS_PER_DROP_MAX || isTooMuch) {
      throw new DropdockError('limit.exceeded', 'The drop contains too many manifests.');
    }
    const known = { digest, size: bytes.length, manifest };
    const staged = source ? { ...known, bytes, source } : { ...known, bytes: undefined };
    this.#manifests.set(digest, stored === digest ? staged : { ...staged, stored });
    return true;
  }

  #visitReferences(manifest: StagedManifest['manifest'], digest: Digest, chain: Digest[]): void {
    const way = { by: digest, chain, inIndex: false };
    for (const blob of manifest.config ? [manifest.config, ...manifest.layers] : manifest.layers) {
      this.#visitBlob(blob, way);
    }
    const absent: Missing[] = [];
    for (const child of manifest.manifests) {
      // An index may list anything (image-spec, image-index.md); an entry that is not a manifest is a blob.
      if (manifestKind(child.mediaType) === undefined) this.#visitBlob(child, way);
      else if (!this.visitManifest(child, { ...way, inIndex: true })) {
        const entry = this.#missing.get(child.digest);
        if (entry?.tolerable) absent.push(entry);
      }
    }
    // Platforms may be absent, but an index without any present entry is not an image.
    if (absent.length > 0 && absent.length === manifest.manifests.length) {
      for (const entry of absent) {
        this.#missing.set(entry.digest, { ...entry, tolerable: false });
      }
    }
  }

  #readManifest(
    descriptor: Descriptor,
    { by, inIndex }: Way,
  ): { bytes: Buffer; source: BlobSource | undefined } | undefined {
    const { digest, size } = descriptor;
    const path = this.locate.manifest(digest);
    if (size > MANIFEST_BYTES_MAX) {
      throw new DropdockError('json.too-large', `${digest} is larger than any client accepts.`, {
        digest,
        path,
      });
    }
    if (this.#isThere(descriptor, path)) {
      const bytes = this.bundle.read(path, MANIFEST_BYTES_MAX);
      if (bytes?.length === size) return { bytes, source: this.bundle.source(path) };
    } else if (this.bundle.size(path) === undefined) {
      const bytes = this.published.readManifest(digest);
      if (bytes) {
        checkLength(descriptor, bytes.length, path);
        return { bytes, source: undefined };
      }
    }
    const absent = this.bundle.size(path) === undefined;
    this.#miss({
      digest,
      path,
      by,
      tolerable: inIndex && absent,
      platform: platformName(descriptor.platform),
    });
    return undefined;
  }

  /** Docker schema 1 has no sizes, so the size of the file is used. */
  #sizeOf({ digest, size }: Descriptor, path: string): number {
    if (size !== UNKNOWN_SIZE) return size;
    return this.bundle.size(path) ?? this.published.sizeOf(digest) ?? 0;
  }

  #visitBlob(descriptor: Descriptor, { by }: Way): void {
    const { digest, mediaType, data } = descriptor;
    const path = this.locate.blob(digest);
    checkBlobLimit(descriptor);
    const size = this.#sizeOf(descriptor, path);
    const known = this.#blobs.get(digest);
    if (known) {
      checkLength(descriptor, known.size, path);
      return;
    }
    const servedSize = this.published.sizeOf(digest);
    if (servedSize !== undefined) checkLength(descriptor, servedSize, path);
    if (this.#isThere(descriptor, path)) {
      // Content that this repository already serves need not be read again.
      const isServed = servedSize !== undefined;
      const source = isServed ? ('published' as const) : this.bundle.source(path);
      this.#blobs.set(digest, { digest, size, source });
    } else if (this.bundle.size(path) !== undefined) {
      this.#miss({ digest, path, by, tolerable: false, platform: undefined });
    } else if (servedSize !== undefined) {
      this.#blobs.set(digest, { digest, size, source: 'published' });
    } else if (data !== undefined) {
      const bytes = Buffer.from(data, 'base64');
      checkLength(descriptor, bytes.length, `the data of ${digest}`);
      checkBytes(bytes, digest, `the data of ${digest}`);
      this.#blobs.set(digest, { digest, size: bytes.length, source: { data: bytes } });
    } else if (isForeignLayer(mediaType)) {
      this.#leftOut.set(digest, { what: digest, why: 'a layer that clients fetch from its URLs' });
    } else {
      this.#miss({ digest, path, by, tolerable: false, platform: undefined });
    }
  }

  /** A file that is too short may still grow; a file that is too long is an error. */
  #isThere({ digest, size }: Descriptor, path: string): boolean {
    const found = this.bundle.size(path);
    if (found === undefined || found < size) return false;
    checkLength({ digest, size }, found, path);
    return true;
  }

  #miss(entry: Missing): void {
    const known = this.#missing.get(entry.digest);
    if (known === undefined || known.tolerable) this.#missing.set(entry.digest, entry);
  }
}
