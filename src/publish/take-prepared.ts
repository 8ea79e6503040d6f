/** A publish takes a tree that was made ahead: of the snapshot it builds on, or of one not long before. */
import { join } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { discard } from '../disk/durable.js';
import { hasErrno } from '../errors.js';
import { LARGE_DIRECTORIES } from '../snapshot/inventory.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { preparedPath } from './paths.js';
import {
  listPrepared,
  type PreparedPlace,
  type PreparedTree,
  stampOf,
  throwAway,
} from './prepared-tree.js';
import { type Step, snapshotVersion } from './recall.js';

/** What a tree holds when it is taken. */
export type Taken =
  /** Nothing: there is none. */
  | undefined
  /** What the snapshot before these steps held, and nothing else. */
  | { readonly steps: readonly Step[] }
  /** Links that somebody made of the last snapshot, by their paths. */
  | { readonly files: ReadonlySet<string> };

/** Below the tree, when it is taken. */
export const PREPARED_DIRECTORIES: ReadonlySet<string> = new Set([
  '.',
  'manifests',
  ...LARGE_DIRECTORIES,
]);

export interface TakeRequest extends PreparedPlace {
  readonly base: Timestamp | null;
  /** What the base holds, where that is known; with the steps that led to it, oldest first. */
  readonly sum: string | undefined;
  readonly steps: readonly Step[];
}

/**
 * Takes what was made ready for this publish. What can be of no use to the next one either goes.
 * @param root where it is moved to
 */
export function takePrepared(disk: Disk, request: TakeRequest, root: string): Taken {
  const { roots, id, owner, base, steps, sum } = request;
  const ready = preparedPath(roots, owner, id);
  if (disk.statIfThere(ready) === undefined) return undefined;
  const version = base === null ? undefined : snapshotVersion(disk, roots, id, base);
  let taken: Taken;
  for (const tree of listPrepared(disk, request)) {
    const at = steps.findIndex((step) => step.version === tree.version);
    const isOfUse = tree.version === version || (sum !== undefined && at >= 0);
    if (taken && isOfUse) continue;
    if (!isOfUse) throwAway(disk, roots, join(ready, tree.name));
    else if (moveTo(disk, join(ready, tree.name), root)) {
      const since = at < 0 ? [] : steps.slice(at);
      const expected = since[0]?.sum ?? sum;
      taken = lookAt(disk, root, { tree, expected, since });
      if (taken === undefined) throwAway(disk, roots, root);
    }
  }
  // Another may be on its way there.
  discard(() => disk.removeDirectory(ready));
  return taken;
}

interface Look {
  readonly tree: PreparedTree;
  /** Its sum, where that is known. */
  readonly expected: string | undefined;
  readonly since: readonly Step[];
}

/** Names are only compared one by one (60,000: 60 ms) where a sum does not do. */
function lookAt(disk: Disk, root: string, { tree, expected, since }: Look): Taken {
  if (tree.sum === expected && tree.stamp === stampOf(disk, root)) return { steps: since };
  if (since.length > 0) return undefined;
  const files = new Set<string>();
  for (const directory of LARGE_DIRECTORIES) {
    for (const name of disk.names(`${root}/${directory}`)) files.add(`${directory}/${name}`);
  }
  return { files };
}

function moveTo(disk: Disk, from: string, to: string): boolean {
  try {
    disk.rename(from, to);
    return true;
  } catch (error) {
    if (!hasErrno(error, 'ENOENT')) throw error;
    return false;
  }
}
