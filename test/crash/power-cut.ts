/**
 * A delivery on a real filesystem, with the power cut before each of its disk operations; afterwards
 * each cut is mounted as after a reboot, looked at by a reader from outside, and given to a daemon.
 */
import { join } from 'node:path';
import { nodeDisk } from '#src/disk/disk.js';
import { deliver, prepareSweepIn, SWEEP_YAML, SWEPT_DROP } from '../support/deliver.js';
import { interfereWith } from '../support/faulty-disk.js';
import { plainPath } from '../support/plain-path.js';
import { receipts, testDaemon, testServices } from '../support/service.js';
import { waitFor } from '../support/wait-for.js';
import { FilesystemImage, type FilesystemType } from './filesystem-image.js';

export interface CutPlan {
  readonly type: FilesystemType;
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
  /** How many operations and syncs the delivery had. */
  readonly operations: number;
  readonly syncs: number;
}

interface Cut {
  readonly image: FilesystemImage;
  readonly operation: number;
  /** The flip was synced: from here on only the new snapshot is right. */
  readonly isDurable: boolean;
}

const ROOT = 'root';

export async function cutPower(plan: CutPlan): Promise<CutResult> {
  const image = FilesystemImage.make(plan.type);
  try {
    const { cuts, look, operations, syncs } = await deliverWithCuts(image, plan);
    image.unmount();
    const seen = { cuts: cuts.length, old: 0, new: 0, violations: [] as string[] };
    for (const cut of cuts) {
      try {
        seen[await survive(cut, look)]++;
      } catch (error) {
        seen.violations.push(
          `${plan.type}, before operation ${cut.operation}: ${messageOf(error)}`,
        );
      } finally {
        cut.image.remove();
      }
    }
    return { ...seen, operations, syncs };
  } finally {
    image.remove();
  }
}

type Look = (root: string) => 'old' | 'new';

async function deliverWithCuts(
  image: FilesystemImage,
  { isCut, isCommitted, withoutSync }: CutPlan,
): Promise<{ cuts: Cut[]; look: Look; operations: number; syncs: number }> {
  const root = join(image.mountPoint, ROOT);
  const look = await prepareSweepIn(root);
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
    if (verb === 'rename' && / \S*\/published\/web\/[^/.]+$/.test(paths)) flipped = true;
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
  const services = await testServices(root, { disk, yaml: SWEEP_YAML });
  // The start is over, and so is whoever made the drop.
  image.sync();
  armed = true;
  await deliver(services, SWEPT_DROP);
  armed = false;
  number++;
  if (isCut(number)) cut();
  await services.close();
  if (withoutSync && leftOut === 0) throw new Error(`nothing syncs ${withoutSync}`);
  return { cuts, look, operations: number, syncs };
}

/** Mounts what is left, looks, lets a daemon start, looks again. @throws what was promised and is not so */
async function survive({ image, isDurable }: Cut, look: Look): Promise<'old' | 'new'> {
  image.mount();
  const root = join(image.mountPoint, ROOT);
  const seen = look(root);
  if (isDurable && seen === 'old') throw new Error('what was flipped and synced is gone');
  const { services, stop } = await testDaemon(root, { disk: nodeDisk, yaml: SWEEP_YAML });
  try {
    await waitFor('the receipt', () => receipts(root).length === 2, 30_000);
  } catch (error) {
    throw new Error(`${messageOf(error)}: ${JSON.stringify(services.lines)}`);
  } finally {
    await stop();
  }
  if (look(root) === 'old') throw new Error('the drop was lost');
  return seen;
}

/** A proxy's verbs as plain functions, to lay another over them. */
function allVerbs(disk: typeof nodeDisk): typeof nodeDisk {
  const verbs = Object.keys(nodeDisk) as (keyof typeof nodeDisk)[];
  return Object.fromEntries(verbs.map((verb) => [verb, disk[verb]])) as unknown as typeof nodeDisk;
}

function messageOf(error: unknown): string {
  return (error as Error).message.slice(0, 600);
}
