/** Which threads do which job. */
import type { BuildRequest } from '../publish/build.js';
import type { Jobs } from './jobs.js';

/**
 * Threads of one lane do not wait for those of another: a flip must not queue behind 50 GB to hash,
 * nor hashing behind a disk that writes or the deletion of old snapshots, nor anything behind somebody who guesses passwords
 * or looks at the page. What comes after a build waits for the disk more than it computes: beside threads
 * that build it has one of its own (of 2,000 small drops in one go that made 3 to 6 % more per second).
 */
export type Lane =
  | 'look'
  | 'quick'
  | 'after'
  | 'hash'
  | 'sync'
  | 'background'
  | 'password'
  | 'page';

const LANES: Partial<Record<keyof Jobs, Lane>> = {
  scan: 'look',
  findLeftovers: 'look',
  checkPassword: 'password',
  flip: 'after',
  withdraw: 'after',
  afterFlip: 'after',
  letGoPublished: 'after',
  letGoTogether: 'after',
  letGoRejected: 'after',
  cleanAndEnd: 'after',
  end: 'after',
  // An archive is read, hashed and perhaps unpacked in one go; and so are layers that lie in a directory.
  stage: 'hash',
  ingest: 'hash',
  syncFile: 'sync',
  emptyTrash: 'background',
  prepareNext: 'background',
  discardPrepared: 'background',
  deleteRetired: 'background',
  census: 'background',
  carriedBy: 'background',
  sweep: 'background',
  planSweep: 'background',
  verifyRepository: 'background',
  repairRepository: 'background',
  verifyContent: 'background',
  verifyTrash: 'background',
  snapshotFacts: 'page',
  snapshotSummary: 'page',
  snapshotChanges: 'page',
  listRejected: 'page',
  dropBytes: 'page',
};

const BUILDING: readonly (keyof Jobs)[] = ['build', 'buildEdit', 'readAndBuild'];

/** Which repository's last snapshot a thread remembers once it has done this. */
export function remembered(job: keyof Jobs, request: unknown): string | undefined {
  return BUILDING.includes(job) ? (request as Pick<BuildRequest, 'policy'>).policy.id : undefined;
}

export function laneOf(job: keyof Jobs): Lane {
  return LANES[job] ?? 'quick';
}
