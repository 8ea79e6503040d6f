/**
 * What comes before the flip of a small turn, in one go on one thread: each way to another thread and
 * back costs two wakes, which for a small drop is as much as the work itself.
 */
import type { Disk } from '../disk/disk.js';
import { toPlainError } from '../errors.js';
import { buildSnapshot } from '../publish/build.js';
import {
  type DropToPublish,
  earlyOf,
  type ReadAndBuildRequest,
  type ReadAndBuilt,
  type StageAnswer,
  type StagedEarly,
} from '../publish/drop.js';
import { openTurn } from '../publish/jobs.js';
import { checkThere, stageTogether } from './stage.js';

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
  const isLeft = (_drop: DropToPublish, at: number) => before[at] === null;
  const left = drops.filter(isLeft);
  const answers = timed('read', () => {
    const turn = { roots, id, transaction, base, uid };
    const lost = left.flatMap((drop) => lostOf(disk, drop));
    const toRead = left.filter((drop) => earlyOf(drop, base) === undefined);
    const read = toRead.length > 0 ? stageTogether(disk, { ...turn, drops: toRead }) : [];
    return new Map<DropToPublish, StageAnswer>([
      ...toRead.flatMap((drop, at) => (read[at] ? ([[drop, read[at]]] as const) : [])),
      ...lost,
    ]);
  });
  const read = drops.map((drop) => answers.get(drop) ?? null);
  const content = contentOf(left, (drop) => answers.get(drop) ?? earlyOf(drop, base));
  if (content === undefined) return { ...opened, read, built: undefined, steps };
  const { nowMs, clock } = request;
  const ready = new Map(left.flatMap((drop) => [...(earlyOf(drop, base)?.forms ?? [])]));
  const given = { roots, policy, transaction, base, nowMs, clock, ready, drops: content };
  return { ...opened, read, built: timed('build', () => buildSnapshot(disk, given)), steps };
}

/** Somebody may have removed the drop; one that is read tells itself. */
function lostOf(disk: Disk, drop: DropToPublish): [DropToPublish, StageAnswer][] {
  if (drop.early === undefined) return [];
  try {
    checkThere(disk, drop);
    return [];
  } catch (error) {
    return [[drop, { error: toPlainError(error) }]];
  }
}

/** Undefined where there is nothing, or not everything is in the store yet. */
function contentOf(
  drops: readonly DropToPublish[],
  answerOf: (drop: DropToPublish) => StageAnswer | StagedEarly | undefined,
) {
  const contents = [];
  for (const drop of drops) {
    const answer = answerOf(drop);
    if (answer === undefined || 'error' in answer) continue;
    if ('isToStageAlone' in answer) return undefined;
    if ('blobs' in answer && answer.blobs.length > 0) return undefined;
    contents.push({ content: answer.content, origin: { drop: drop.name, at: drop.at } });
  }
  return contents.length === 0 ? undefined : contents;
}
