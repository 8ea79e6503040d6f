/**
 * All paths of the published tree and of the state directory. No other file builds them.
 *
 *   <published>/
 *     app/<id>.json                symlink to ../web/<id>/<id>.json, through the pivot
 *     web/<id>                     the pivot: symlink to ../master/<id>/<timestamp>
 *     master/<id>/<timestamp>/     a snapshot (its files: repository/render.ts)
 *   <state>/                       same filesystem as <published>
 *     content/<algorithm>/<2 hex>/<hex>    the content store
 *     work/<transaction>/          unfinished work; see transactionName
 *     trash/                       what is being deleted
 *     locks/                       one file and one directory per repository, one file per process
 *     flips/<id>/<timestamp>       links about to become the pivot (see flip.ts)
 *     history/<id>.jsonl           one line per flip: when, to what, why
 *     unused.json                  content that nothing links, and for how long
 *     targets/<target>/<id>.json      last known snapshot in an object store
 *     tokens/keys                  signing keys of the endpoint; readable by its owner only
 *     notify/                      pending notifications (its files: notify/queue.ts)
 */
import { join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex } from '../image/digest.js';
import type { RepositoryId } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';

/** The two root directories; absolute paths. */
export interface TreeRoots {
  readonly published: string;
  readonly state: string;
}

export const webDirectory = ({ published }: TreeRoots) => join(published, 'web');
export const appDirectory = ({ published }: TreeRoots) => join(published, 'app');
export const masterDirectory = ({ published }: TreeRoots) => join(published, 'master');
export const contentDirectory = ({ state }: TreeRoots) => join(state, 'content');
export const workDirectory = ({ state }: TreeRoots) => join(state, 'work');
export const trashDirectory = ({ state }: TreeRoots) => join(state, 'trash');
export const locksDirectory = ({ state }: TreeRoots) => join(state, 'locks');
export const ownersDirectory = ({ state }: TreeRoots) => join(state, 'locks', '.owners');
export const flipsDirectory = ({ state }: TreeRoots) => join(state, 'flips');
export const historyDirectory = ({ state }: TreeRoots) => join(state, 'history');
export const inboxStatusDirectory = ({ state }: TreeRoots) => join(state, 'boards');
export const unusedPath = ({ state }: TreeRoots) => join(state, 'unused.json');
export const notifyDirectory = ({ state }: TreeRoots) => join(state, 'notify');

export const tokenKeysPath = ({ state }: TreeRoots) => join(state, 'tokens', 'keys');

export function elsewherePath({ state }: TreeRoots, target: string, id: RepositoryId): string {
  return join(state, 'targets', target, `${id}.json`);
}

/** Created when a command writes the first note. */
export function commandNotesDirectory({ state }: TreeRoots): string {
  return join(state, 'commands');
}

export function allDirectories(roots: TreeRoots): string[] {
  return [
    webDirectory,
    appDirectory,
    masterDirectory,
    contentDirectory,
    workDirectory,
    trashDirectory,
    locksDirectory,
    ownersDirectory,
    flipsDirectory,
    historyDirectory,
  ].map((directory) => directory(roots));
}

export function pivotPath(roots: TreeRoots, id: RepositoryId): string {
  return join(webDirectory(roots), id);
}

export function pivotTarget(id: RepositoryId, snapshot: Timestamp): string {
  return `../master/${id}/${snapshot}`;
}

/** Returns the snapshot that a pivot's target names; undefined for a link that dropdock did not make. */
export function snapshotOfTarget(id: RepositoryId, target: string): Timestamp | undefined {
  const prefix = `../master/${id}/`;
  const name = target.slice(prefix.length);
  return target.startsWith(prefix) && isTimestamp(name) ? name : undefined;
}

export function appLinkPath(roots: TreeRoots, id: RepositoryId): string {
  return join(appDirectory(roots), `${id}.json`);
}

export function appLinkTarget(id: RepositoryId): string {
  return `../web/${id}/${id}.json`;
}

/**
 * A name in the directory of the link it replaces. It is hidden from web servers and does not end in .json,
 * which Crane would load.
 */
export function temporaryLink(directory: string, id: RepositoryId, owner: string): string {
  return join(directory, `.${id}.${owner}`);
}

/** Returns the repository and process of a temporary link; undefined for other names. */
export function parseTemporaryLink(name: string): { id: RepositoryId; owner: string } | undefined {
  const match = /^\.(.+)\.([^.]+)$/.exec(name);
  return match?.[1] && match[2] ? { id: match[1] as RepositoryId, owner: match[2] } : undefined;
}

/** Directory for the links of publishers that are about to flip a repository. */
export function pendingFlips(roots: TreeRoots, id: RepositoryId): string {
  return join(flipsDirectory(roots), id);
}

export function snapshotsDirectory(roots: TreeRoots, id: RepositoryId): string {
  return join(masterDirectory(roots), id);
}

export function snapshotPath(roots: TreeRoots, id: RepositoryId, snapshot: Timestamp): string {
  return join(masterDirectory(roots), id, snapshot);
}

export function contentPath(roots: TreeRoots, digest: Digest): string {
  const hex = digestHex(digest);
  // No `join`: a publish calls this for each of 100,000 files.
  return `${contentDirectory(roots)}/${digestAlgorithm(digest)}/${hex.slice(0, 2)}/${hex}`;
}

export function workPath(roots: TreeRoots, transaction: string): string {
  return join(workDirectory(roots), transaction);
}

/** Name of a publish's directory under work/: process id, start (ms) and a number. */
export function transactionName(owner: string, startMs: number, serial: number): string {
  return `${owner}-${startMs}-${serial}`;
}

export function transactionOwner(transaction: string): string {
  return transaction.split('-')[0] ?? '';
}

/** Directory for the spare tree that a process makes for a repository. See spare-tree.ts. */
export function sparePath(roots: TreeRoots, owner: string, id: RepositoryId): string {
  return workPath(roots, `${owner}-spare-${id}`);
}

export function isSpareName(name: string): boolean {
  return name.split('-')[1] === 'spare';
}

export function trashPath(roots: TreeRoots, name: string): string {
  return join(trashDirectory(roots), name);
}

export function historyPath(roots: TreeRoots, id: RepositoryId): string {
  return join(historyDirectory(roots), `${id}.jsonl`);
}

/** The file that carries the kernel lock. It is never deleted. */
export function kernelLockPath(roots: TreeRoots, id: RepositoryId): string {
  return join(locksDirectory(roots), `${id}.lock`);
}

/** Suffix of the directory of a repository's lock. */
export const HELD = '.held';

/** The directory that is proper-lockfile's lock. */
export function sharedLockPath(roots: TreeRoots, id: RepositoryId): string {
  return join(locksDirectory(roots), `${id}${HELD}`);
}

/** File that names the holder of the shared lock. */
export function lockHolderPath(roots: TreeRoots, id: RepositoryId): string {
  return join(locksDirectory(roots), `${id}.holder`);
}

export function ownerPath(roots: TreeRoots, token: string): string {
  return join(ownersDirectory(roots), token);
}
