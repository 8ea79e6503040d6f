/**
 * I1 for readers of files: a continuous reader resolves web/ and app/ and checks every digest, while tags
 * move, change their type and are removed, repositories are removed and restored, and old snapshots are
 * cleaned: it sees only complete snapshots. DROPDOCK_TEST_FLIPS sets the length, DROPDOCK_TEST_SEED
 * repeats a run.
 */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { MovingTree } from '../support/moving-tree.js';
import { makeRandom } from '../support/random.js';
import type { ReaderThreadAnswer, ReaderThreadData } from '../support/reader-thread.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const FLIPS = Number(process.env.DROPDOCK_TEST_FLIPS ?? 100);

describe('readers of a tree that changes constantly', function () {
  this.timeout(60_000 + FLIPS * 1000);
  after(removeTempDirs);

  it(`see only complete snapshots through ${FLIPS} flips and cleanings`, async () => {
    console.info(`      seed ${SEED}`);
    const root = tempDir();
    const ids = ['app', 'base', 'tool'];
    const tree = await MovingTree.make(root, {
      repositories: ids,
      random: makeRandom(SEED),
      // Short, so that much is cleaned; longer than the slowest look.
      yaml: 'retention: {keep: 1, grace: 2s}\n',
    });
    const workerData: ReaderThreadData = { published: join(root, 'published'), ids };
    const url = new URL('../support/reader-thread.js', import.meta.url);
    const reader = new Worker(url, { workerData });
    for (let flip = 0; flip < FLIPS; flip++) await tree.flip();
    const { looks, snapshots, violation } = await stop(reader);
    const left = ids.flatMap((id) => readdirSync(join(root, 'published/master', id))).length;
    await tree.close();
    console.info(`      ${looks} looks, ${snapshots} snapshots, ${left} left`);
    expect(violation).to.equal(undefined);
    expect(looks).to.be.greaterThan(FLIPS / 4);
    expect(snapshots).to.be.greaterThan(Math.min(20, FLIPS / 10));
    if (FLIPS >= 1000) expect(left, 'snapshots that were cleaned away').to.be.lessThan(FLIPS / 2);
  });
});

async function stop(reader: Worker): Promise<ReaderThreadAnswer> {
  const answered = once(reader, 'message');
  reader.postMessage('stop');
  const [answer] = (await answered) as [ReaderThreadAnswer];
  await reader.terminate();
  return answer;
}
