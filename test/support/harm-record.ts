/** Snapshots as older versions wrote them: their record of a manifest differs from its bytes. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import type { Digest } from '#src/image/digest.js';
import { parseSnapshot, serialiseSnapshot } from '#src/repository/snapshot-file.js';
import type { ManifestRecord } from '#src/repository/state.js';

type Change = (record: ManifestRecord) => ManifestRecord | undefined;

/** @returns the text with another record of this manifest, or without one */
export function withRecord(text: Buffer, digest: string, change: Change): Buffer {
  const { state, ...header } = parseSnapshot(text, 'the snapshot');
  const manifests = new Map(state.manifests);
  const record = manifests.get(digest as Digest);
  if (record === undefined) throw new Error(`the snapshot has no ${digest}`);
  const changed = change(record);
  if (changed) manifests.set(digest as Digest, changed);
  else manifests.delete(digest as Digest);
  return Buffer.from(serialiseSnapshot({ ...state, manifests }, header));
}

export function harmRecord(path: string, digest: string, change: Change): void {
  const text = withRecord(readFileSync(path), digest, change);
  chmodSync(path, 0o644);
  writeFileSync(path, text);
}
