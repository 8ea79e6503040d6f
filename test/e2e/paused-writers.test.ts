/**
 * Goal: a drop whose writer pauses is claimed as soon as it has been quiet after its last byte, like
 * every other drop. Method: write it in parts through one open file, each part after the daemon was seen
 * waiting for the rest; its next periodic scan is ten minutes away.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, cpSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { DaemonProcess } from '../support/daemon-process.js';
import { makeLayout, sha256 } from '../support/make-image.js';
import { dockerSaveMembers, makeTar } from '../support/make-tar.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { hasTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

const QUIET_MS = 300;
const YAML = `settle: {quiet: ${QUIET_MS}ms, timeout: 10m}\ninbox: {scan: 10m}\n`;
/** New watches are looked after for so long (inbox/watch.ts), which would find everything by itself. */
const DOUBT_MS = 10_500;
/** Far above what it takes on a busy machine, far below every look that is due anyway. */
const SOON_MS = 15_000;

describe('a writer that pauses', function () {
  this.timeout(120_000);
  let root: string;
  let daemon: DaemonProcess;

  before(async () => {
    root = tempDir();
    daemon = await DaemonProcess.start(root, { yaml: YAML });
    await delay(DOUBT_MS);
  });
  after(async () => {
    await daemon?.stop('SIGKILL');
    removeTempDirs();
  });

  /** How often the daemon has said that it waits for the rest. */
  const waits = (drop: string) =>
    daemon.output.split(`drop.waiting drop=${drop} reason="`).length - 1;
  const seenWaiting = async (drop: string, times: number) => {
    await waitFor(`${drop} to wait`, () => waits(drop) >= times);
    // It looks once more when it has begun to watch the drop.
    await delay(QUIET_MS * 3);
  };
  const receiptOf = (drop: string) =>
    waitFor(
      `the receipt of ${drop}`,
      () => receipts(root).find((each) => each.drop === drop),
      SOON_MS,
    );

  const tar = makeTar(dockerSaveMembers([{ names: ['x:1'], layers: ['base', 'top'] }], sha256));
  const packings: Record<string, () => Buffer> = {
    'tar.gz': () => gzipSync(tar),
    tar: () => tar,
    ...(hasTools('zstd') || process.env.CI
      ? { 'tar.zst': () => execFileSync('zstd', ['-q', '-c'], { input: tar }) }
      : {}),
    ...(hasTools('xz') || process.env.CI
      ? { 'tar.xz': () => execFileSync('xz', ['-c'], { input: tar }) }
      : {}),
  };
  for (const [extension, pack] of Object.entries(packings)) {
    // That a plain tar waits is said once.
    for (const pauses of extension === 'tar' ? [1] : [1, 3]) {
      it(`has its ${extension} claimed after the last byte, with ${pauses} pauses`, async () => {
        const drop = `p${pauses}${extension.replace('.', '-')}:1.${extension}`;
        const bytes = pack();
        const part = Math.ceil(bytes.length / (pauses + 1));
        const fd = openSync(join(root, 'inbox', drop), 'w');
        for (let at = 0; at < bytes.length; at += part) {
          writeSync(fd, bytes, at, Math.min(part, bytes.length - at));
          if (at + part < bytes.length) await seenWaiting(drop, at / part + 1);
        }
        closeSync(fd);
        expect((await receiptOf(drop)).status).to.equal('published');
      });
    }
  }

  for (const [what, left] of [
    ['a layer', 'layer'],
    ['all blobs', 'blobs'],
    ['its index', 'index.json'],
  ] as const) {
    it(`has its layout claimed after ${what}`, async () => {
      const whole = join(root, 'whole');
      rmSync(whole, { recursive: true, force: true });
      const image = makeLayout(whole, { layers: [left] });
      const path = left === 'layer' ? join('blobs', image.digest.replace(':', '/')) : left;
      const drop = `d-${left.replace('.', '-')}:1`;
      const there = join(root, 'inbox', drop);
      // In parts as well: the directory is there, and the part is not.
      cpSync(whole, there, {
        recursive: true,
        filter: (source) => !source.startsWith(join(whole, path)),
      });
      await seenWaiting(drop, 1);
      mkdirSync(dirname(join(there, path)), { recursive: true });
      cpSync(join(whole, path), join(there, path), { recursive: true });
      expect((await receiptOf(drop)).status).to.equal('published');
    });
  }
});
