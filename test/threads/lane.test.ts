/** How many threads a lane starts: real ones, with real files to hash. */
import { statSync, truncateSync } from 'node:fs';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { ThreadLane } from '#src/threads/lane.js';
import { LeftWork } from '#src/threads/left-work.js';
import { IngestFixture } from '../disk/ingest-fixture.js';
import { sha256 } from '../support/make-image.js';
import { waitFor } from '../support/wait-for.js';

describe('ThreadLane', () => {
  const given = new IngestFixture();
  let lane: ThreadLane;
  afterEach(() => lane.close());

  /** Each takes a while, and only one processor. @returns how many are done */
  function giveWork(jobs: number, mebibytes = 64): { done: number } {
    truncateSync(given.file, mebibytes * 1024 * 1024);
    const digest = sha256('other bytes') as Digest;
    const blob = { ...given.blob, digest, size: statSync(given.file).size };
    const progress = { done: 0 };
    const ended = () => {
      progress.done++;
    };
    for (let at = 0; at < jobs; at++) {
      const blobs = [{ ...blob, temporary: `${blob.temporary}${at}` }];
      const message = { job: 'ingest', request: { blobs } } as const;
      lane.add({
        message,
        about: undefined,
        resolve: ended,
        reject: ended,
        left: new LeftWork(),
      });
    }
    return progress;
  }

  const noOthers = () => Promise.reject(new Error('nothing is left to others'));

  it('has as many as there is work for, and as it may', () => {
    lane = new ThreadLane(3, noOthers);
    giveWork(2);
    expect(lane.threads).to.equal(2);
    giveWork(5);
    expect(lane.threads).to.equal(3);
  });

  /** @param share of all processors that this process uses */
  const clockOf = (share: () => number) => {
    let [nowMs, usedMs] = [0, 0];
    return {
      processors: 2,
      nowMs: () => {
        nowMs += 100;
        usedMs += 100 * 2 * share();
        return nowMs;
      },
      usedMs: () => usedMs,
    };
  };

  it('starts others only when processors are idle while work waits', async () => {
    let share = 0.9;
    lane = new ThreadLane(3, noOthers, { atOnce: 1, clock: clockOf(() => share) });
    const busy = giveWork(8);
    await waitFor('what was given to busy processors', () => busy.done === 8);
    expect(lane.threads).to.equal(1);
    share = 0.2;
    const progress = giveWork(40);
    expect(lane.threads).to.equal(1);
    await waitFor('another thread', () => lane.threads > 1 || progress.done === 40);
    expect(lane.threads).to.be.within(2, 3);
    expect(progress.done).to.be.lessThan(40);
    await waitFor('the rest', () => progress.done === 40);
    giveWork(1);
    expect(lane.threads, 'those there are do the next').to.be.within(2, 3);
  });

  it('starts another beside busy processors where those there have long work', async () => {
    lane = new ThreadLane(2, noOthers, { atOnce: 1, clock: clockOf(() => 0.9) });
    const progress = giveWork(2, 64 * 1024);
    await waitFor('another thread', () => lane.threads === 2);
    expect(progress.done).to.equal(0);
  });

  it('is free until what it is given must wait', () => {
    lane = new ThreadLane(2, noOthers, { clock: clockOf(() => 0.9) });
    expect(lane.isFree).to.equal(true);
    giveWork(1);
    expect(lane.isFree).to.equal(true);
    giveWork(1);
    expect(lane.isFree).to.equal(false);
  });
});
