/**
 * Goal: the built program, killed at a system call that changes the disk, or given an error from it,
 * completes its change or has no effect (I1, I3, I4): also for calls outside the disk layer, such as
 * locks and process registration. Method: strace kills or fails the k-th call of a thread; check from
 * outside; run the command again. Each run tries a different part of all points; DROPDOCK_TEST_POINTS=all
 * tries each.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { dropdock, MAIN } from '../support/daemon-process.js';
import { deliver, dropPath } from '../support/deliver.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { testServices } from '../support/service.js';
import { removeTempDir, removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const ALL = process.env.DROPDOCK_TEST_POINTS === 'all';
const POINTS = 1;

/** What changes a disk, and what Node's start does not do. */
const CALLS = 'rename,link,symlink,unlink,mkdir,rmdir,fsync,pwrite64,fchmod,utimensat'.split(',');
const FAILURES = [
  'signal=KILL',
  ...'EIO ENOSPC EACCES EROFS ESTALE EINTR'.split(' ').map((name) => `error=${name}`),
];
const CALLS_MAX = 100;

const COMMANDS: Record<string, (layout: string) => string[]> = {
  publish: (layout) => ['publish', layout, '--as', 'app:1'],
  rollback: () => ['rollback', 'app'],
  untag: () => ['untag', 'app', '1'],
  remove: () => ['remove', 'app'],
};

describe('a command with a system call killed or failing', function () {
  this.timeout(ALL ? 7_200_000 : 180_000);
  let template: string;
  let layout: string;

  before(async function () {
    needTools(this, 'strace');
    console.info(`      seed ${SEED}`);
    template = tempDir();
    const services = await testServices(template, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
    for (const tag of ['1', '2']) {
      makeLayout(dropPath(template, `app:${tag}`), { layers: ['base', tag] });
      await deliver(services, `app:${tag}`);
    }
    await services.close();
    layout = join(tempDir(), 'layout');
    makeLayout(layout, { layers: ['base', 'new'] });
  });

  after(removeTempDirs);

  for (const [name, command] of Object.entries(COMMANDS)) {
    it(`${name}: completes or has no effect`, async () => {
      const given = command(layout);
      const before = tagsIn(template);
      const clean = copyOf(template);
      expect((await dropdock(...given, '--root', clean)).code).to.equal(0);
      const after = tagsIn(clean);
      removeTempDir(clean);
      const seen = { points: 0, old: 0, new: 0 };
      for await (const point of pointsOf(name)) {
        const root = copyOf(template);
        if (!(await runInjected(root, given, point))) point.isLast = true;
        else {
          const tags = JSON.stringify(tagsIn(root));
          const what = `${name}, ${point.call} ${point.k} ${point.failure}`;
          expect([JSON.stringify(before), JSON.stringify(after)], what).to.include(tags);
          const isDone = tags === JSON.stringify(after);
          seen[isDone ? 'new' : 'old']++;
          seen.points++;
          // What was left undone is mended by the next visit; a rollback done twice would lead back.
          const again = isDone && name !== 'publish' ? ['verify', '--repair'] : given;
          const result = await dropdock(...again, '--root', root);
          expect(result.code, `${what}: ${result.stderr}${result.stdout}`).to.equal(0);
          expect(tagsIn(root), what).to.deep.equal(after);
        }
        removeTempDir(root);
      }
      console.info(`      ${seen.points} points: ${seen.old} old, ${seen.new} new`);
    });
  }
});

interface Point {
  readonly call: string;
  readonly k: number;
  readonly failure: string;
  /** Set when there was no such call any more. */
  isLast: boolean;
}

async function* pointsOf(name: string): AsyncGenerator<Point> {
  const random = makeRandom(SEED + name.length);
  if (!ALL) {
    for (let n = 0; n < POINTS; n++) {
      const call = CALLS[Math.floor(random() * CALLS.length)] ?? '';
      const failure = FAILURES[Math.floor(random() * FAILURES.length)] ?? '';
      yield { call, k: 1 + Math.floor(random() * 6), failure, isLast: false };
    }
    return;
  }
  for (const failure of FAILURES) {
    for (const call of CALLS) {
      for (let k = 1; k < CALLS_MAX; k++) {
        const point = { call, k, failure, isLast: false };
        yield point;
        if (point.isLast) break;
      }
    }
  }
}

function copyOf(template: string): string {
  const root = tempDir();
  execFileSync('cp', ['-a', `${template}/.`, root]);
  return root;
}

function tagsIn(root: string): Readonly<Record<string, string>> | undefined {
  return readRepository(join(root, 'published'), 'app')?.tags;
}

/** @returns false when the point was not reached */
async function runInjected(
  root: string,
  given: readonly string[],
  { call, k, failure }: Point,
): Promise<boolean> {
  const log = join(root, 'strace.log');
  const child = spawn(
    'strace',
    [
      ...['-f', '-qq', '-o', log, '-e', `trace=${call}`],
      ...['-e', `inject=${call}:${failure}:when=${k}`],
      ...[process.execPath, MAIN, ...given, '--root', root],
    ],
    { stdio: 'ignore' },
  );
  await once(child, 'exit');
  const text = readFileSync(log, 'utf8');
  return text.includes('(INJECTED)') || text.includes('+++ killed by SIGKILL');
}
