/**
 * Goal: a daemon at its file descriptor limit stays up, reports it, and publishes when the limit is
 * raised (I3). Method: lower the limit of a running daemon below its open descriptors (prlimit), then
 * raise it again.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess, QUICK } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools, tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const YAML = `${QUICK}inbox: {scan: 200ms}\n`;
const DROPS = 6;

describe('a daemon at its file descriptor limit', function () {
  this.timeout(60_000);
  let daemon: DaemonProcess | undefined;

  before(function () {
    needTools(this, 'prlimit');
  });

  afterEach(() => daemon?.stop('SIGKILL'));
  after(removeTempDirs);

  // None at all, and so many that only some of its work finds them.
  for (const spare of [0, 6]) {
    it(`with ${spare} descriptors left stays up, and publishes when the limit is raised`, async () => {
      const root = tempDir();
      const inbox = join(root, 'inbox');
      mkdirSync(inbox);
      daemon = await DaemonProcess.start(root, { yaml: YAML });
      const { child } = daemon;
      const pid = String(child.pid);
      await tool('prlimit', '--pid', pid, `--nofile=${limitWith(spare, pid)}:4096`);
      for (let n = 0; n < DROPS; n++) makeLayout(join(inbox, `app${n}:1`), { layers: [`${n}`] });
      const done = () => receipts(root).length;
      const isTold = () => /EMFILE|too many open files/.test(daemon?.output ?? '');
      await waitFor('it to run out', () => isTold() || done() === DROPS);
      if (spare === 0) expect(isTold(), daemon.output).to.equal(true);
      await tool('prlimit', '--pid', pid, '--nofile=4096:4096');
      await waitFor('all drops', () => done() === DROPS).catch((error) => {
        throw new Error(`${(error as Error).message}: ${daemon?.output}`);
      });
      expect(child.exitCode).to.equal(null);
      for (let n = 0; n < DROPS; n++) {
        expect(readRepository(join(root, 'published'), `app${n}`)?.tags).to.have.property('1');
      }
      expect(await daemon.stop()).to.equal(0);
    });
  }
});

/** The limit below which so many numbers are free. */
function limitWith(spare: number, pid: string): number {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let limit = 3;
  for (let free = 0; free < spare; limit++) if (!open.has(limit)) free++;
  return limit;
}
