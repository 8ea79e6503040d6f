/** Lists and verifies the content of a store: its pointers, and all objects they need. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Digest, digestAlgorithm, digestHex } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import type { RepositoryId } from '../../image/names.js';
import type { VerifyFinding, VerifyResult } from '../../publisher/target.js';
import { checkRecord } from '../../repository/check-record.js';
import type { ManifestRecord } from '../../repository/state.js';
import { eachOf } from './bring-content.js';
import { objectsOf, recordsOf } from './build-objects.js';
import type { NeededObject } from './needed-objects.js';
import { blobKey, manifestKey, REPOSITORIES, redirectKey, snapshotKey } from './object-keys.js';
import { cutOff, type ObjectStore } from './object-store.js';
import type { Pointer } from './pointer.js';
import { readPointer, readSnapshotText } from './read-current.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

const PARALLEL = 8;

/** The ids of all repositories, sorted. */
export async function listIds({ store }: StoreContext): Promise<RepositoryId[]> {
  const ids: RepositoryId[] = [];
  for await (const { directories } of store.list(REPOSITORIES, { directories: true })) {
    ids.push(...(directories as RepositoryId[]));
  }
  return ids;
}

/** Reads the pointers of those `ids` that have one, in their order. */
export async function readPointers(
  { store }: StoreContext,
  ids: readonly RepositoryId[],
): Promise<Pointer[]> {
  const found = new Map<RepositoryId, Pointer>();
  await eachOf(ids, PARALLEL, async (id) => {
    const answer = await readPointer(store, id);
    if (typeof answer === 'object') found.set(id, answer.pointer);
  });
  return ids.flatMap((id) => found.get(id) ?? []);
}

/** Returns the snapshots of a repository. */
export async function listSnapshotNames(
  { store }: StoreContext,
  id: RepositoryId,
): Promise<Set<string>> {
  const names = new Set<string>();
  const prefix = `${REPOSITORIES}${id}/`;
  for await (const { objects } of store.list(prefix)) {
    for (const { key } of objects) names.add(key.slice(prefix.length).replace(/\.json$/, ''));
  }
  return names;
}

/** Maximum number of times that a pointer is read again because it changed. */
const MOVES_MAX = 5;
/** The redirect file of a publish is replaced a moment after its flip. */
const REDIRECT_AGAIN_MS = 1000;

/**
 * Reads every object that the current snapshots need, and compares the record of each manifest with its
 * bytes. Publishers and cleanings keep running: if there is a problem and the pointer has changed, its new
 * snapshot is read instead.
 * @param seen keys that were already checked; grows. A manifest is read for each repository that contains it,
 * because each repository has its own record of it
 */
export async function verifyStore(
  context: StoreContext,
  pointer: Pointer,
  seen: Set<string>,
): Promise<VerifyResult> {
  let files = 0;
  let current = pointer;
  for (let moves = 0; ; moves++) {
    const check = await verifyCurrent(context, current, seen);
    files += check.files;
    const lasting = check.redirect && !(await isPlacedNow(context, current));
    const findings = lasting ? [...check.findings, check.redirect] : check.findings;
    if (findings.length === 0 || moves === MOVES_MAX) return { files, findings };
    const found = await readPointer(context.store, pointer.id);
    if (typeof found !== 'object' || found.pointer.generation === current.generation) {
      return { files, findings };
    }
    current = found.pointer;
    for (const { path } of findings) seen.delete(path);
  }
}

async function verifyCurrent(
  { store, run }: StoreContext,
  pointer: Pointer,
  seen: Set<string>,
): Promise<VerifyResult & { readonly redirect: VerifyFinding | undefined }> {
  const { id, snapshot } = pointer;
  const key = snapshotKey(id, snapshot);
  const text = await readSnapshotText(store, id, snapshot);
  if (text === undefined) {
    const detail = 'the snapshot that the pointer names';
    const findings = [{ problem: 'missing', path: key, detail } as const];
    return { files: 0, findings, redirect: undefined };
  }
  const findings: VerifyFinding[] = [];
  // Content kept for grace may have been deleted.
  const expiredMs = Number.POSITIVE_INFINITY;
  const objects = await run(objectsOf, { text, where: key, expiredMs });
  const records = new Map(
    (await run(recordsOf, { text, where: key })).map((each) => [
      manifestKey(each.record.stored ?? each.digest),
      each,
    ]),
  );
  const unseen = objects.filter((each) => !seen.has(each.key));
  for (const each of unseen) seen.add(each.key);
  const isNew = new Set(unseen);
  const again = objects.filter((each) => records.has(each.key) && !isNew.has(each));
  await eachOf([...unseen, ...again], PARALLEL, async (object) => {
    findings.push(...(await checkObject(store, object, records.get(object.key))));
  });
  return { findings, files: unseen.length, redirect: await checkRedirect(store, pointer) };
}

async function checkRedirect(
  store: ObjectStore,
  { id, redirectHash }: Pointer,
): Promise<VerifyFinding | undefined> {
  const redirect = await withRetry(() => store.get(redirectKey(id)));
  const found = typeof redirect === 'object' ? redirect.body : undefined;
  if (found && createHash('sha256').update(found).digest('hex') === redirectHash) return undefined;
  const problem = found === undefined ? 'missing' : 'damaged';
  const detail = 'the redirect file for Crane; the next publish repairs it';
  return { problem, path: redirectKey(id), detail };
}

/** Its publisher may have replaced it just now, or another publisher has flipped since. */
async function isPlacedNow({ store }: StoreContext, { id }: Pointer): Promise<boolean> {
  await sleep(REDIRECT_AGAIN_MS);
  const found = await readPointer(store, id);
  if (typeof found !== 'object') return false;
  return (await checkRedirect(store, found.pointer)) === undefined;
}

interface OwnRecord {
  readonly digest: Digest;
  readonly record: ManifestRecord;
}

/** @param own the record of a manifest in the snapshot */
async function checkObject(
  store: ObjectStore,
  { key, digest, size }: NeededObject,
  own: OwnRecord | undefined,
): Promise<VerifyFinding[]> {
  return withRetry(async () => {
    const find = (problem: VerifyFinding['problem'], detail: string) => [
      { problem, path: key, detail },
    ];
    const opened = await store.open(key);
    if (opened === undefined) return find('missing', 'is served but missing');
    const hash = createHash(digestAlgorithm(digest));
    const kept: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of opened.body) {
        hash.update(chunk as Buffer);
        bytes += (chunk as Buffer).length;
        if (own && bytes <= MANIFEST_BYTES_MAX) kept.push(chunk as Buffer);
      }
    } catch (error) {
      throw cutOff(store.target, key, error);
    }
    if (bytes !== size) return find('damaged', `${bytes} bytes instead of ${size}`);
    const found = hash.digest('hex');
    if (found !== digestHex(digest)) return find('damaged', `its digest is ${found}`);
    if (own === undefined) return [];
    return checkRecord(own.digest, own.record, Buffer.concat(kept)).map(
      ({ problem, blob, detail }) => ({ problem, path: blob ? blobKey(blob) : key, detail }),
    );
  });
}
