/**
 * One of two publishers that flip the same repositories, in lockstep: each disk call waits for its turn
 * in the schedule. Reports the result of each flip.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { DropdockError } from '#src/errors.js';
import type { RepositoryId } from '#src/image/names.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { nodeDisk } from '#src/storage/disk.js';
import type { TreeRoots } from '#src/storage/tree-paths.js';
import { flip } from '#src/targets/directory/flip.js';
import { interfereWith } from '../../support/faulty-disk.js';

export interface FlipThreadData {
  readonly roots: TreeRoots;
  readonly me: 0 | 1;
  readonly base: Timestamp;
  readonly snapshot: Timestamp;
  readonly rounds: number;
  /** Four for each round: who is next (0 or 1), who is done, how far the schedule is. */
  readonly control: Int32Array;
  /** For each round, so many steps: who is next. */
  readonly schedule: Uint8Array;
  readonly steps: number;
}

const given = workerData as FlipThreadData;
const { roots, me, base, snapshot, rounds, control, schedule, steps } = given;
const other = 1 - me;
const ends: string[] = [];

for (let round = 0; round < rounds; round++) {
  const at = { turn: round * 4, done: round * 4 + 1, step: round * 4 + 3 };
  let isMine = false;
  const passOn = (next: number) => {
    isMine = false;
    Atomics.store(control, at.turn, next);
    Atomics.notify(control, at.turn);
  };
  const disk = interfereWith(nodeDisk, () => {
    if (isMine) {
      const step = Atomics.add(control, at.step, 1);
      const next = schedule[round * steps + (step % steps)] ?? 0;
      passOn(Atomics.load(control, at.done + other) === 1 ? me : next);
    }
    while (Atomics.load(control, at.turn) !== me) Atomics.wait(control, at.turn, other);
    isMine = true;
  });
  const lockLost = new Int32Array(new SharedArrayBuffer(4));
  try {
    flip(disk, { roots, id: `r${round}` as RepositoryId, base, snapshot, lockLost });
    ends.push('flipped');
  } catch (error) {
    ends.push(error instanceof DropdockError ? error.code : String(error));
  }
  Atomics.store(control, at.done + me, 1);
  passOn(other);
}
parentPort?.postMessage(ends);
