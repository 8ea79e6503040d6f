/**
 * Does a snapshot's record of a manifest say what the manifest's bytes say? Clients go by the bytes: a
 * blob that these name and the record does not is one they cannot get. Pure.
 */
import { faultOf } from '../errors.js';
import { type Digest, digestAlgorithm } from '../image/digest.js';
import { blobsOf, type Manifest, parseManifest } from '../image/manifest.js';
import { manifestDigest } from '../image/manifest-digest.js';
import { isForeignLayer } from '../image/media-types.js';
import { type ManifestRecord, toManifestRecord } from './state.js';

export interface RecordProblem {
  readonly problem: 'damaged' | 'missing';
  /** What is missing; otherwise it is the manifest itself. */
  readonly blob?: Digest;
  readonly detail: string;
}

/** @param bytes what is served under this digest; that they hash to `stored` is for the caller to check */
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
  if (record.size !== derived.size) problems.push(damaged(`it has ${derived.size} bytes`));
  const listed = new Set(record.children.map((child) => child.digest));
  const isOther = derived.children.some((child) => !listed.has(child.digest));
  if (isOther || record.subject !== derived.subject) {
    problems.push(damaged('its snapshot says that it lists other manifests, or another subject'));
  }
  for (const { digest: blob, mediaType } of blobsOf(manifest)) {
    // What clients fetch elsewhere may have been left out.
    if (held.has(blob) || isForeignLayer(mediaType)) continue;
    held.set(blob, 0);
    const detail = `the manifest ${digest} names it and its snapshot does not`;
    problems.push({ problem: 'missing', blob, detail });
  }
  return problems;
}

function damaged(detail: string): RecordProblem {
  return { problem: 'damaged', detail };
}
