/**
 * Goal: when the filesystem shuts down under a running process, that process reports nothing false, stays
 * up or exits for a restart, and loses nothing: after a remount, a daemon publishes the rest (I1, I3,
 * I4). Method: shut down ext4 and XFS (FS_IOC_SHUTDOWN), with and without writing their log, at several
 * moments while a real daemon or command runs. DROPDOCK_TEST_CUTS=all: many moments.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { DaemonProcess, dropdock, MAIN, QUICK } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository, readSnapshots } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';
import { FilesystemImage, needImages } from './filesystem-image.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const MOMENTS = process.env.DROPDOCK_TEST_CUTS === 'all' ? 25 : 1;
const YAML = `${QUICK}inbox: {scan: 200ms}\nlock: {stale: 2s}\nshutdown: {wait: 2s}\n`;
const REPOSITORIES = ['a', 'b', 'c'];
const TAGS = ['1', '2'];
/** About what a daemon says while it publishes all of them. */
const LINES_MAX = 30;
/** About what a command takes that publishes one. */
const COMMAND_MS = 600;

describe('a filesystem that shuts down', function () {
  this.timeout(1_200_000);
  const random = makeRandom(SEED);
  const made = new Map<string, string>();
  let image: FilesystemImage | undefined;
  let running: DaemonProcess | undefined;

  before(function () {
    needTools(this, 'xfs_io');
    console.info(`      seed ${SEED}`);
  });

  afterEach(async () => {
    await running?.stop('SIGKILL');
    image?.remove();
  });
  after(removeTempDirs);

  for (const type of ['ext4', 'xfs'] as const) {
    for (const writes of [true, false]) {
      const how = `${type}, ${writes ? 'its log written' : 'its log lost'}`;

      it(`${how}, under a daemon: it reports nothing false and loses nothing`, async function () {
        needImages(this, type);
        const seen = { said: 0, ended: 0 };
        for (let n = 0; n < MOMENTS; n++) {
          image = FilesystemImage.make(type);
          const { said, ended } = await below(image, writes, 1 + Math.floor(random() * LINES_MAX));
          seen.said += said;
          seen.ended += ended ? 1 : 0;
          image.remove();
        }
        const all = MOMENTS * REPOSITORIES.length * TAGS.length;
        console.info(
          `      ${how}: ${MOMENTS} moments, ${seen.said} of ${all} drops done before, ` +
            `${seen.ended} daemons ended, the others stayed up`,
        );
      });

      it(`${how}, under a command: it reports the true result`, async function () {
        needImages(this, type);
        const seen = { done: 0, failed: 0 };
        for (let n = 0; n < MOMENTS; n++) {
          image = FilesystemImage.make(type);
          seen[await belowCommand(image, writes, random() * COMMAND_MS)]++;
          image.remove();
        }
        console.info(`      ${how}: ${seen.done} commands done, ${seen.failed} failed`);
      });
    }
  }

  /** @returns how many drops it said were published, and whether it ended by itself */
  async function below(
    place: FilesystemImage,
    writes: boolean,
    lines: number,
  ): Promise<{ said: number; ended: boolean }> {
    const root = join(place.mountPoint, 'root');
    for (const repository of REPOSITORIES) {
      for (const tag of TAGS) {
        const path = join(root, 'inbox', `${repository}:${tag}`);
        made.set(`${repository}:${tag}`, makeLayout(path, { layers: ['base', tag] }).digest);
      }
    }
    place.sync();
    const daemon = await DaemonProcess.start(root, { yaml: YAML });
    running = daemon;
    const count = () => daemon.output.split('\n').length;
    await waitFor('some work', () => count() > lines || saidDone(daemon).length === made.size);
    place.shutDown({ writes });
    const isTrouble = () => /publish\.retry|daemon\.warning|daemon\.failed/.test(daemon.output);
    const hasEnded = () => daemon.child.exitCode !== null;
    // One that has nothing to do has nothing to notice, and may have said so only now.
    const isDone = () => saidDone(daemon).length === made.size;
    await waitFor('it to notice', () => isDone() || isTrouble() || hasEnded(), 60_000).catch(
      (error) => {
        throw new Error(`${(error as Error).message}: ${daemon.output}`);
      },
    );
    const ended = hasEnded();
    if (ended) expect(daemon.child.exitCode, daemon.output).to.be.greaterThan(0);
    expect(daemon.output).not.to.include('daemon.failed');
    await daemon.stop();
    place.unmount();
    place.mount();
    for (const drop of saidDone(daemon)) expectPublished(root, drop, daemon.output);
    for (const { status, drop } of receipts(root)) {
      expect(status).to.be.oneOf(['published', 'unchanged']);
      expectPublished(root, drop, daemon.output);
    }
    await finish(root);
    return { said: saidDone(daemon).length, ended };
  }

  async function finish(root: string): Promise<void> {
    const next = await DaemonProcess.start(root, { yaml: YAML });
    running = next;
    try {
      await waitFor('all drops', () => receipts(root).length === made.size, 60_000);
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${next.output}`);
    } finally {
      await next.stop();
    }
    for (const drop of made.keys()) expectPublished(root, drop, next.output);
  }

  function expectPublished(root: string, drop: string, output: string): void {
    const [repository = '', tag = ''] = drop.split(':');
    const seen = readRepository(join(root, 'published'), repository);
    expect(seen?.tags[tag], `${drop}\n${output}`).to.equal(made.get(drop));
    readSnapshots(join(root, 'published'), repository);
  }
});

function saidDone({ output }: DaemonProcess): string[] {
  return [...output.matchAll(/publish\.done .*?drop=(\S+)/g)].map(([, drop = '']) => drop);
}

async function belowCommand(
  image: FilesystemImage,
  writes: boolean,
  afterMs: number,
): Promise<'done' | 'failed'> {
  const root = join(image.mountPoint, 'root');
  expect((await dropdock('init', '--root', root)).code).to.equal(0);
  image.sync();
  const layout = join(tempDir(), 'layout');
  const { digest } = makeLayout(layout, { layers: ['base', 'new'] });
  const given = [MAIN, 'publish', layout, '--as', 'app:1', '--root', root];
  const child = spawn(process.execPath, given, { stdio: 'ignore' });
  await Promise.race([delay(afterMs), once(child, 'exit')]);
  image.shutDown({ writes });
  if (child.exitCode === null) await once(child, 'exit');
  image.unmount();
  image.mount();
  const published = join(root, 'published');
  const seen = readRepository(published, 'app');
  readSnapshots(published, 'app');
  // An exit code that is not 0 promises nothing, for the flip may have been the last thing it did.
  if (child.exitCode === 0) expect(seen?.tags['1']).to.equal(digest);
  else if (seen) expect(seen.tags['1']).to.equal(digest);
  return child.exitCode === 0 ? 'done' : 'failed';
}
