/**
 * I7 under stress: eight publishers of the same repositories, paused at random past their lock timeout,
 * with clocks that jump by hours, lose no tag; snapshot names only increase. DROPDOCK_TEST_MERGES sets
 * the length, DROPDOCK_TEST_SEED repeats a run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { repositoryHistory } from '#src/targets/directory/overview.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const MERGES = Number(process.env.DROPDOCK_TEST_MERGES ?? 80);
const PUBLISHERS = 8;
const CHILD = fileURLToPath(new URL('./publisher-child.js', import.meta.url));
/** Longer than lock.stale, 2 s. */
const PAUSE_MS = 2600;

describe('eight publishers', function () {
  this.timeout(60_000 + MERGES * 1000);
  after(removeTempDirs);

  it(`lose no tag in ${MERGES} merges while paused and with jumping clocks`, async () => {
    console.info(`      seed ${SEED}`);
    const random = makeRandom(SEED);
    const root = tempDir();
    // One tag more makes all of a repository's links anew, so they are spread.
    const repositories = Math.max(2, Math.round(MERGES / 250));
    const each = Math.ceil(MERGES / PUBLISHERS);
    const children = Array.from({ length: PUBLISHERS }, (_, n) => {
      const given = [root, `p${n}`, each, repositories, SEED + n].map(String);
      return spawn(process.execPath, [CHILD, ...given], { stdio: ['ignore', 'pipe', 'inherit'] });
    });
    const published: string[] = [];
    for (const child of children) {
      child.stdout.on('data', (data) => {
        published.push(...String(data).trim().split('\n'));
      });
    }
    const ends = children.map((child) => once(child, 'exit'));
    const pauses = await pauseAtRandom(children, random);
    await Promise.all(ends);
    for (const { exitCode } of children) expect(exitCode).to.equal(0);
    expect(published).to.have.length(each * PUBLISHERS);
    await expectAllThere(root, published);
    console.info(`      ${published.length} merges, ${pauses} pauses`);
  });
});

async function pauseAtRandom(
  children: readonly ChildProcess[],
  random: () => number,
): Promise<number> {
  let pauses = 0;
  for (;;) {
    const running = children.filter(({ exitCode }) => exitCode === null);
    const child = running[Math.floor(random() * running.length)];
    if (child === undefined) return pauses;
    child.kill('SIGSTOP');
    await delay(PAUSE_MS);
    child.kill('SIGCONT');
    pauses++;
    await delay(200 + random() * 1000);
  }
}

async function expectAllThere(root: string, published: readonly string[]): Promise<void> {
  const services = await testServices(root, { disk: nodeDisk });
  const { roots, run } = services;
  const expected = new Map<string, string[]>();
  for (const line of published) {
    const [repository = '', tag = ''] = line.split(' ');
    expected.set(repository, [...(expected.get(repository) ?? []), tag]);
  }
  for (const [repository, tags] of expected) {
    const seen = readRepository(join(root, 'published'), repository);
    expect(Object.keys(seen?.tags ?? {}).sort(), repository).to.deep.equal(tags.sort());
    const history = await run(repositoryHistory, { roots, id: repository as never });
    const names = history.map(({ snapshot }) => snapshot).reverse();
    expect(names, `${repository}: names grow`).to.deep.equal([...new Set(names)].sort());
    // Each snapshot is based on the previous one: no tags were skipped.
    const bases = names.map((name) => {
      const path = join(root, 'published/master', repository, name, '.snapshot.json');
      return JSON.parse(readFileSync(path, 'utf8')).base as string | null;
    });
    expect(bases).to.deep.equal([null, ...names.slice(0, -1)]);
  }
  await services.close();
}
