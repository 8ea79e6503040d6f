/** Copies the published content of a directory tree into an object store as a publisher would. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { manifestKind } from '#src/image/media-types.js';
import type { RepositoryId } from '#src/image/names.js';
import { parseSnapshot } from '#src/repository/snapshot-file.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import {
  blobKey,
  manifestKey,
  pointerKey,
  snapshotKey,
} from '#src/targets/object-store/object-keys.js';
import {
  nextPointer,
  type Pointer,
  parsePointer,
  serialisePointer,
} from '#src/targets/object-store/pointer.js';
import type { MemoryStore } from './memory-store.js';

/** Brings every repository to what its pivot names; those without one lose their pointer. */
export function mirror(published: string, store: MemoryStore): void {
  const web = join(published, 'web');
  const ids = existsSync(web) ? readdirSync(web).filter((name) => !name.startsWith('.')) : [];
  for (const id of ids) mirrorRepository(web, id as RepositoryId, store);
  for (const key of [...store.objects.keys()]) {
    const [, id = ''] = /^repos\/(.+)\/current$/.exec(key) ?? [];
    if (id !== '' && !ids.includes(id)) store.objects.delete(key);
  }
}

function mirrorRepository(web: string, id: RepositoryId, store: MemoryStore): void {
  const snapshot = basename(readlinkSync(join(web, id))) as Timestamp;
  const before = pointerOf(store, id);
  if (before?.snapshot === snapshot) return;
  const text = readFileSync(join(web, id, '.snapshot.json'));
  const { state, reason } = parseSnapshot(text, id);
  for (const [digest, { mediaType, stored = digest, blobs }] of state.manifests) {
    const path = join(web, id, 'manifests', manifestKind(mediaType) ?? '', digest);
    store.put(manifestKey(stored), readFileSync(path));
    for (const blob of blobs) {
      store.put(blobKey(blob.digest), readFileSync(join(web, id, 'blobs', blob.digest)));
    }
  }
  store.put(snapshotKey(id, snapshot), text);
  const { repository, tags, removed } = state;
  const facts = { repository, id, tags: tags.size, redirectHash: '', ...(removed && { removed }) };
  const flip = { ...reason, snapshot, at: snapshot };
  store.put(pointerKey(id), serialisePointer(nextPointer(before, flip, facts)));
}

function pointerOf(store: MemoryStore, id: RepositoryId): Pointer | undefined {
  const body = store.objects.get(pointerKey(id));
  return body && parsePointer(body, id);
}
