/**
 * What comes before the flip of a small turn, in one go on one thread: each way to another thread and
 * back costs two wakes, which for a small drop is as much as the work itself.
 */
import type { Disk } from '../disk/disk.js';
import { buildSnapshot } from '../publish/build.js';
import type {
  DropToPublish,
  ReadAndBuildRequest,
  ReadAndBuilt,
  StageAnswer,
} from '../publish/drop.js';
import { openTurn } from '../publish/jobs.js';
import { stageTogether } from './stage.js';

/** @throws system errors, and what only putting everything together refuses */
export function readAndBuild(disk: Disk, request: ReadAndBuildRequest): ReadAndBuilt {
  const { open, policy, uid, drops } = request;
  const { roots, id, transaction } = open;
  const steps = { mend: 0, read: 0, build: 0 };
  const timed = <T>(step: keyof typeof steps, work: () => T): T => {
    const beganMs = performance.now();
    const result = work();
    steps[step] = performance.now() - beganMs;
    return result;
  };
  const opened = timed('mend', () => openTurn(disk, open));
  const { base, before } = opened;
  const toRead = drops.filter((_drop, at) => before[at] === null);
  const answers = timed('read', () =>
    stageTogether(disk, { roots, id, transaction, base, uid, drops: toRead }),
  );
  const byDrop = new Map(toRead.map((drop, at) => [drop, answers[at] ?? null]));
  const read = drops.map((drop) => byDrop.get(drop) ?? null);
  const content = contentOf(byDrop);
  if (content === undefined) return { ...opened, read, built: undefined, steps };
  const { nowMs } = request;
  const given = { roots, policy, transaction, base, nowMs, drops: content };
  return { ...opened, read, built: timed('build', () => buildSnapshot(disk, given)), steps };
}

/** Undefined where there is nothing, or not everything is in the store yet. */
function contentOf(read: ReadonlyMap<DropToPublish, StageAnswer | null>) {
  const content = [];
  for (const [{ name, at }, answer] of read) {
    if (answer === null || 'error' in answer) continue;
    if (answer.blobs.length > 0) return undefined;
    content.push({ content: answer.content, origin: { drop: name, at } });
  }
  return content.length === 0 ? undefined : content;
}
