/** What a store holds, for people and for checks: pointers, and whether all they lead to is there. */
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

/** Those of `ids` that have one, in their order. */
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

/** Which snapshots of a repository are there. */
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

/** So often a pointer may move while what it named is read. */
const MOVES_MAX = 5;
/** Between a flip and the redirect file of the same publish there is a moment. */
const REDIRECT_AGAIN_MS = 1000;

/**
 * Reads every object that what is current needs, and holds what the snapshot says of each manifest against
 * the manifest's bytes. Publishers and cleanings go on meanwhile: where something is wrong and the pointer has
 * moved on, what it names now is read instead.
 * @param seen keys that were checked already; grows. A manifest is read for each repository that has it,
 * for each has its own record of it
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
  // What is only carried may have been deleted.
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
  const detail = 'the redirect file for Crane; the next publish puts it right';
  return { problem, path: redirectKey(id), detail };
}

/** Its publisher may just have put it, or another one has flipped since. */
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

/** @param own what the snapshot says of it, where it is a manifest */
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
    if (opened === undefined) return find('missing', 'is served and not there');
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
    if (bytes !== size) return find('damaged', `${bytes} bytes, not ${size}`);
    const found = hash.digest('hex');
    if (found !== digestHex(digest)) return find('damaged', `hashes to ${found}`);
    if (own === undefined) return [];
    return checkRecord(own.digest, own.record, Buffer.concat(kept)).map(
      ({ problem, blob, detail }) => ({ problem, path: blob ? blobKey(blob) : key, detail }),
    );
  });
}
