/**
 * A change on a real filesystem, with the power cut before each of its disk operations; afterwards
 * each disk is mounted as after a reboot, checked by an outside reader, and given to a daemon.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { nodeDisk } from '#src/storage/disk.js';
import { interfereWith } from '../support/faulty-disk.js';
import { plainPath } from '../support/plain-path.js';
import { testServices } from '../support/service.js';
import { removeTempDir } from '../support/temp-dir.js';
import {
  CHANGED,
  type Change,
  copyTree,
  type Expected,
  expectedOf,
  judge,
  settle,
  yamlOf,
} from './changes.js';
import { FilesystemImage, type FilesystemType } from './filesystem-image.js';

export interface CutPlan {
  readonly type: FilesystemType;
  readonly change: Change;
  /** Is the power cut before this operation? Counted from 1. */
  readonly isCut: (operation: number) => boolean;
  /** Does the filesystem write its metadata before this operation, of its own accord? */
  readonly isCommitted: (operation: number) => boolean;
  /** Syncs of paths that match are left out: to see that this is seen. */
  readonly withoutSync?: RegExp;
}

export interface CutResult {
  readonly cuts: number;
  readonly old: number;
  readonly new: number;
  readonly violations: readonly string[];
  /** How many operations and syncs the change had. */
  readonly operations: number;
  readonly syncs: number;
}

interface Cut {
  readonly image: FilesystemImage;
  readonly operation: number;
  /** The flip was synced: from here on only the new state is right. */
  readonly isDurable: boolean;
}

const ROOT = 'root';

export async function cutPower(plan: CutPlan): Promise<CutResult> {
  const { change, type } = plan;
  const image = FilesystemImage.make(type);
  try {
    const root = join(image.mountPoint, ROOT);
    mkdirSync(root);
    await change.prepare(root);
    const copy = copyTree(root);
    const expected = await expectedOf(change, copy);
    removeTempDir(copy);
    const { cuts, operations, syncs } = await changeWithCuts(image, plan);
    image.unmount();
    const seen = { cuts: cuts.length, old: 0, new: 0, violations: [] as string[] };
    for (const cut of cuts) {
      try {
        seen[await survive(cut, change, expected)]++;
      } catch (error) {
        const what = (error as Error).message.slice(0, 600);
        seen.violations.push(`${type}, before operation ${cut.operation}: ${what}`);
      } finally {
        cut.image.remove();
      }
    }
    return { ...seen, operations, syncs };
  } finally {
    image.remove();
  }
}

async function changeWithCuts(
  image: FilesystemImage,
  { change, isCut, isCommitted, withoutSync }: CutPlan,
): Promise<{ cuts: Cut[]; operations: number; syncs: number }> {
  const root = join(image.mountPoint, ROOT);
  const pivot = join(root, 'published', 'web', CHANGED);
  const cuts: Cut[] = [];
  let armed = false;
  let number = 0;
  let syncs = 0;
  let leftOut = 0;
  const opened = new Map<number, string>();
  let flipped = false;
  let isDurable = false;
  const cut = () => cuts.push({ image: image.cut(`cut-${number}`), operation: number, isDurable });
  const counting = interfereWith(nodeDisk, ({ verb, paths }) => {
    if (!armed) return;
    number++;
    if (isCommitted(number)) image.commitMetadata();
    if (isCut(number)) cut();
    if (flipped && verb === 'rename') isDurable = true;
    if (verb === 'rename' && paths.endsWith(` ${pivot}`)) flipped = true;
    if (verb === 'unlink' && paths === pivot) flipped = true;
  });
  const disk = {
    ...allVerbs(counting),
    open: (...given: Parameters<typeof nodeDisk.open>) => {
      const fd = counting.open(...given);
      opened.set(fd, plainPath(String(given[0])));
      return fd;
    },
    sync: (fd: number) => {
      if (armed) syncs++;
      if (armed && withoutSync?.test(opened.get(fd) ?? '')) leftOut++;
      else counting.sync(fd);
    },
  };
  const services = await testServices(root, { disk, yaml: yamlOf(change) });
  const arm = () => {
    // The start is complete, and the process that made the drop has ended.
    if (!armed) image.sync();
    armed = true;
  };
  if (!change.beginsLate) arm();
  try {
    await change.act(services, { begin: arm, unseen: (look) => look() });
    armed = false;
    number++;
    if (isCut(number)) cut();
  } finally {
    // Else it cannot be unmounted.
    await services.close();
  }
  if (withoutSync && leftOut === 0) throw new Error(`nothing syncs ${withoutSync}`);
  return { cuts, operations: number, syncs };
}

/** Mounts what is left, looks, lets a daemon start, looks again. @throws what was promised and is not so */
async function survive(
  { image, isDurable }: Cut,
  change: Change,
  expected: Expected,
): Promise<'old' | 'new'> {
  image.mount();
  const root = join(image.mountPoint, ROOT);
  const seen = judge(root, expected);
  // Of a cleaning nothing is promised to be done.
  const mustBeDone = isDurable && expected.before.state !== expected.after.state;
  if (mustBeDone && seen === 'old') throw new Error('what was flipped and synced is gone');
  await settle(root, change, expected);
  return seen;
}

/** A proxy's verbs as plain functions, to lay another over them. */
function allVerbs(disk: typeof nodeDisk): typeof nodeDisk {
  const verbs = Object.keys(nodeDisk) as (keyof typeof nodeDisk)[];
  return Object.fromEntries(verbs.map((verb) => [verb, disk[verb]])) as unknown as typeof nodeDisk;
}
