/**
 * Compares a snapshot's record of a manifest with the manifest's bytes. Clients rely on the bytes: they
 * cannot get a blob that the bytes reference but the record does not. Pure.
 */
import { faultOf } from '../errors.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import { blobsOf, type Manifest, parseManifest } from '../image/manifest.js';
import { manifestDigest } from '../image/manifest-digest.js';
import { isForeignLayer } from '../image/media-types.js';
import { type ManifestRecord, toManifestRecord } from './state.js';

export interface RecordProblem {
  readonly problem: 'damaged' | 'missing';
  /** The missing blob; undefined if the manifest itself has the problem. */
  readonly blob?: Digest;
  readonly detail: string;
}

/** @param bytes the bytes served under this digest; the caller must check that they hash to `stored` */
export function checkRecord(
  digest: Digest,
  record: ManifestRecord,
  bytes: Buffer,
): RecordProblem[] {
  let manifest: Manifest;
  try {
    manifest = parseManifest(bytes, record.mediaType, digest);
    const found = manifestDigest(bytes, manifest.kind, digestAlgorithm(digest), digest);
    if (found !== digest) return [damaged(`its digest is ${found}`)];
  } catch (error) {
    if (faultOf(error) !== 'content') throw error;
    return [damaged((error as Error).message)];
  }
  const problems: RecordProblem[] = [];
  const held = new Map(record.blobs.map((blob) => [blob.digest, blob.size]));
  const derived = toManifestRecord({ manifest, size: bytes.length }, held);
  if (record.size !== derived.size) problems.push(damaged(`its size is ${derived.size} bytes`));
  const listed = new Set(record.children.map((child) => child.digest));
  const isOther = derived.children.some((child) => !listed.has(child.digest));
  if (isOther || record.subject !== derived.subject) {
    problems.push(damaged('the snapshot records other child manifests or another subject'));
  }
  for (const { digest: blob, mediaType } of blobsOf(manifest)) {
    // Layers that clients fetch from another server may be missing.
    if (held.has(blob) || isForeignLayer(mediaType)) continue;
    held.set(blob, 0);
    const detail = `the manifest ${digest} references it, but the snapshot does not record it`;
    problems.push({ problem: 'missing', blob, detail });
  }
  return problems;
}

function damaged(detail: string): RecordProblem {
  return { problem: 'damaged', detail };
}
