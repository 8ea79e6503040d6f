/**
 * Builds the next snapshot from the current one. Runs in a worker thread, because a snapshot of 50,000 tags
 * is 40 MB of text.
 */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { DropdockError, type PlainError } from '../../errors.js';
import { type Digest, digestAlgorithm, digestHex } from '../../image/digest.js';
import type { Tag } from '../../image/names.js';
import type { LeftOut } from '../../image/staged-content.js';
import { liveManifests, type TagMove } from '../../repository/merge.js';
import {
  type Change,
  checkOwner,
  type DropToMerge,
  leadsBack,
  type MergeOutcome,
  nextState,
  planNext,
  type RepositoryPolicy,
  type RestoredSnapshot,
  renderOptions,
} from '../../repository/next-state.js';
import { type RenderOptions, renderRedirectFile } from '../../repository/render.js';
import {
  parseSnapshot,
  type SnapshotReason,
  type SnapshotText,
  type StoredSnapshot,
  serialiseSnapshot,
} from '../../repository/snapshot-file.js';
import type { ManifestRecord, RepositoryState } from '../../repository/state.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { ingestBytes } from '../../storage/into-store.js';
import { job } from '../../storage/job.js';
import { contentPath, type TreeRoots, workPath } from '../../storage/tree-paths.js';
import { convertTags } from '../convert-tags.js';
import { allObjects, type NeededObject, neededObjects } from './needed-objects.js';

export interface BuildObjectsRequest {
  readonly roots: TreeRoots;
  readonly policy: RepositoryPolicy;
  readonly transaction: string;
  readonly nowMs: number;
  /** Content kept for grace since the snapshot of this time (ms) or earlier is past its grace period. */
  readonly expiredMs: number;
  readonly base: (SnapshotText & { readonly redirectHash: string }) | undefined;
  /** Snapshot names that are already used. */
  readonly taken: readonly Timestamp[];
  readonly change: Change;
  /** The snapshot that a rollback restores. */
  readonly restored: SnapshotText | undefined;
}

/** The objects to upload, and the contents of the pointer. */
export interface NextObjects {
  readonly snapshot: Timestamp;
  readonly reason: SnapshotReason;
  /** The compressed snapshot object. */
  readonly packed: Uint8Array;
  readonly redirect: string;
  readonly redirectHash: string;
  readonly tags: number;
  readonly removed: boolean;
  /** Objects that this snapshot needs and the previous one did not. */
  readonly needs: readonly NeededObject[];
}

export interface BuiltObjects {
  readonly outcomes: readonly MergeOutcome[];
  readonly moves: readonly TagMove[];
  readonly leftOut: readonly LeftOut[];
  /** Manifests that are only in the store: the caller fetches them and calls again. */
  readonly absent: readonly Digest[];
  /** Undefined if clients would see no difference. */
  readonly next: NextObjects | undefined;
}

/** @throws layout.unsafe, repository.unknown, tag.unknown, system errors; writes no snapshot */
export const buildObjects = job(
  'fast',
  import.meta.url,
  function buildObjects(disk: Disk, request: BuildObjectsRequest): BuiltObjects {
    const { base, policy, change, nowMs, expiredMs } = request;
    const stored = base && readOwn(request, base);
    const restored = request.restored && restoredFrom(request.restored);
    let absent: Digest[] = [];
    const { next, outcomes, moves, leftOut, reason } = planNext({
      policy,
      change,
      stored,
      restored,
      nowMs,
      taken: [...request.taken, ...(base ? [base.snapshot] : [])],
      expiredMs,
      convert: (merged) => {
        absent = absentForConversion(disk, request, merged);
        return absent.length > 0
          ? { state: merged, leftOut: [] }
          : convertTags(disk, request, merged);
      },
      isRedirectRight: (options) =>
        hashOf(renderRedirectFile((stored as StoredSnapshot).state, options)) ===
        base?.redirectHash,
    });
    const built = { outcomes, moves, leftOut, absent };
    if (next === undefined || absent.length > 0) return { ...built, next: undefined };
    return { ...built, next: { ...render(stored, next.state, next.options), reason } };
  },
);

function render(
  stored: StoredSnapshot | undefined,
  next: RepositoryState,
  options: RenderOptions,
): Omit<NextObjects, 'reason'> {
  const redirect = renderRedirectFile(next, options);
  const text = Buffer.from(serialiseSnapshot(next, options));
  last = { text, stored: { ...options, state: next } };
  return {
    snapshot: options.snapshot as Timestamp,
    packed: gzipSync(text, { level: 1 }),
    redirect,
    redirectHash: hashOf(redirect),
    tags: next.tags.size,
    removed: next.removed === true,
    needs: neededObjects(next, stored?.state),
  };
}

function restoredFrom({ text, snapshot }: SnapshotText): RestoredSnapshot {
  return { snapshot, state: parseSnapshot(toBuffer(text), snapshot).state };
}

/** Checks whether a drop would be accepted. See `Target.check`. */
export const checkStoreDrop = job(
  'fast',
  import.meta.url,
  function checkStoreDrop(
    _disk: Disk,
    {
      policy,
      base,
      drop,
    }: {
      readonly policy: RepositoryPolicy;
      readonly base: SnapshotText | undefined;
      readonly drop: DropToMerge;
    },
  ): PlainError | null {
    const before = base && readOwn({ policy }, base).state;
    const [outcome] = nextState(before, { kind: 'publish', drops: [drop] }, policy).outcomes;
    return outcome?.ok === false ? outcome.error : null;
  },
);

export interface StoreBytesRequest {
  readonly roots: TreeRoots;
  readonly transaction: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** Saves a manifest from a store in the content store. @throws target.damaged */
export const storeBytes = job(
  'fast',
  import.meta.url,
  function storeBytes(disk: Disk, { roots, transaction, digest, bytes }: StoreBytesRequest): void {
    const found = createHash(digestAlgorithm(digest)).update(bytes).digest('hex');
    if (found !== digestHex(digest)) {
      throw new DropdockError(
        'target.damaged',
        `The object ${digest} in the target has different content.`,
        {
          digest,
        },
      );
    }
    ingestBytes(disk, bytes, contentPath(roots, digest), workPath(roots, transaction));
  },
);

/** Returns the digest of each tag. */
export const tagsOf = job(
  'fast',
  import.meta.url,
  function tagsOf(
    _disk: Disk,
    { source }: { readonly source: SnapshotText },
  ): ReadonlyMap<Tag, Digest> {
    const { state } = parseSnapshot(toBuffer(source.text), source.snapshot);
    return new Map([...state.tags].map(([tag, { digest }]) => [tag, digest]));
  },
);

/** Returns the manifests that a conversion needs and that are not on this host. */
function absentForConversion(
  disk: Disk,
  { roots, policy }: BuildObjectsRequest,
  { tags, manifests, conversions }: RepositoryState,
): Digest[] {
  if (policy.redirectOci !== 'convert') return [];
  const isHere = (digest: Digest) => disk.statIfThere(contentPath(roots, digest)) !== undefined;
  const wanted = [...tags.values()].map(({ digest }) => digest);
  const seen = new Set<Digest>();
  const absent: Digest[] = [];
  for (let digest = wanted.pop(); digest !== undefined; digest = wanted.pop()) {
    const record = manifests.get(digest);
    if (record === undefined || seen.has(digest)) continue;
    seen.add(digest);
    if (!/oci/.test(record.mediaType)) continue;
    const isIndex = record.children.length > 0;
    if (isIndex) wanted.push(...record.children.map((child) => child.digest));
    // An index is converted again each time, an image only once.
    if ((isIndex || !conversions.has(digest)) && !isHere(digest)) absent.push(digest);
  }
  return absent;
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * Cache of the snapshot that this thread built or read last. Compares the complete text: a name that was
 * built and lost to another publisher may belong to another snapshot.
 */
let last: { readonly text: Buffer; readonly stored: StoredSnapshot } | undefined;

/** @throws layout.unsafe when another repository has this id (I8) */
function readOwn(
  { policy }: Pick<BuildObjectsRequest, 'policy'>,
  { snapshot, text: given }: SnapshotText,
): StoredSnapshot {
  const text = toBuffer(given);
  const stored = last?.text.equals(text) ? last.stored : parseSnapshot(text, snapshot);
  last = { text, stored };
  checkOwner(policy, stored.state);
  return stored;
}

/** Returns whether a rollback without a snapshot name would restore this one; see `leadsBack`. */
export const isEarlier = job(
  'fast',
  import.meta.url,
  function isEarlier(
    _disk: Disk,
    {
      policy,
      base,
      earlier,
    }: {
      readonly policy: RepositoryPolicy;
      readonly base: SnapshotText;
      readonly earlier: SnapshotText;
    },
  ): boolean {
    const { state } = readOwn({ policy }, base);
    return leadsBack(state, parseSnapshot(toBuffer(earlier.text), earlier.snapshot).state);
  },
);

/** Returns the redirect file of the current snapshot with the current settings. */
export const redirectOf = job(
  'fast',
  import.meta.url,
  function redirectOf(
    _disk: Disk,
    request: {
      readonly policy: RepositoryPolicy;
      readonly base: SnapshotText;
    },
  ): string {
    const stored = readOwn(request, request.base);
    return renderRedirectFile(stored.state, renderOptions(request.policy, stored));
  },
);

/**
 * Returns the objects that a snapshot needs, for cleaning and verify.
 * @param expiredMs omits content kept for grace since the snapshot of this time or earlier
 */
export const objectsOf = job(
  'fast',
  import.meta.url,
  function objectsOf(
    _disk: Disk,
    {
      text,
      where,
      expiredMs,
    }: {
      readonly text: Uint8Array;
      readonly where: string;
      readonly expiredMs: number;
    },
  ): readonly NeededObject[] {
    return allObjects(parseSnapshot(toBuffer(text), where).state, expiredMs);
  },
);

/** Returns the records of the manifests that a snapshot serves, for verify. */
export const recordsOf = job(
  'fast',
  import.meta.url,
  function recordsOf(
    _disk: Disk,
    {
      text,
      where,
    }: {
      readonly text: Uint8Array;
      readonly where: string;
    },
  ): readonly { readonly digest: Digest; readonly record: ManifestRecord }[] {
    const { state } = parseSnapshot(toBuffer(text), where);
    return [...liveManifests(state)].flatMap((digest) => {
      const record = state.manifests.get(digest);
      return record ? [{ digest, record }] : [];
    });
  },
);

/** A Buffer becomes a Uint8Array when it is passed between threads. */
function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
