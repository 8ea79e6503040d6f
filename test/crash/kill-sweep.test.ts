/**
 * Goal: wherever the process is killed, a reader sees the old snapshot or the new one; the next start
 * completes the publish, and the drop gets exactly one receipt. Method: a process that delivers a drop
 * kills itself at its k-th disk operation; check; start a daemon. Each run tries different
 * k; DROPDOCK_TEST_POINTS=all tries each.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import {
  prepareSweep,
  SWEEP_LEAVING_YAML,
  SWEEP_YAML,
  SWEPT_DROP,
  SWEPT_ID,
} from '../support/deliver.js';
import { receipts, testDaemon } from '../support/service.js';
import { removeTempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const DIE_AT = fileURLToPath(new URL('./die-at.js', import.meta.url));

/** Every operation of a delivery, or every eleventh, beginning with another one in every run. */
const STEP = process.env.DROPDOCK_TEST_POINTS === 'all' ? 1 : 11;
const FIRST = 1 + (Date.now() % STEP);

/** @returns false when the delivery ended before its k-th operation */
async function killAt(root: string, k: number, yaml: string): Promise<boolean> {
  const child = spawn(process.execPath, [DIE_AT, root, SWEPT_DROP, String(k), yaml], {
    stdio: 'inherit',
  });
  await once(child, 'exit');
  if (child.signalCode === 'SIGKILL') return true;
  expect(child.exitCode).to.equal(0);
  return false;
}

/** Kills at k, looks, recovers, looks again. @returns what was seen, undefined past the last k */
async function tryPoint(k: number, yaml: string): Promise<'old' | 'new' | undefined> {
  const { root, look } = await prepareSweep();
  const killed = await killAt(root, k, yaml);
  const sees = look();
  const { services, stop } = await testDaemon(root, { disk: nodeDisk, yaml });
  await waitFor(`recovery after a kill at operation ${k}`, () => receipts(root).length === 2).catch(
    (error) => {
      throw new Error(`${(error as Error).message}\n${JSON.stringify(services.lines, null, 1)}`);
    },
  );
  await waitFor('an empty .claimed/', () => readdirSync(join(root, 'inbox/.claimed')).length === 0);
  await waitFor('an empty trash', () => readdirSync(join(root, 'state/trash')).length === 0);
  await stop();
  expect(look()).to.equal('new');
  expect(receipts(root)[1]?.status, `after ${k}`).to.be.oneOf(['published', 'unchanged']);
  expect(readdirSync(join(root, 'inbox/.receipts'))).to.have.length(2);
  // All links are mended, not one (I4).
  expect(existsSync(join(root, 'published/app', `${SWEPT_ID}.json`))).to.equal(true);
  expect(readdirSync(join(root, 'state/work'))).to.deep.equal([]);
  expect(readdirSync(join(root, 'inbox')).sort()).to.deep.equal([
    '.claimed',
    '.left',
    '.receipts',
    '.rejected',
    'team',
  ]);
  removeTempDir(root);
  return killed ? sees : undefined;
}

describe('publish killed at the k-th disk operation', () => {
  for (const [what, yaml, step] of [
    ['a drop', SWEEP_YAML, STEP],
    ['a drop that stays in the inbox', SWEEP_LEAVING_YAML, 3 * STEP - 2],
  ] as const) {
    it(`never exposes a partial snapshot, and the next start completes the publish: ${what}`, async function () {
      this.timeout(300_000);
      const seen = { old: 0, new: 0 };
      let k = FIRST - step;
      let done = false;
      const worker = async () => {
        while (!done) {
          k += step;
          const sees = await tryPoint(k, yaml);
          if (sees === undefined) done = true;
          else seen[sees]++;
        }
      };
      await Promise.all([worker(), worker(), worker()]);
      console.info(`      ${seen.old + seen.new} points: ${seen.old} old, ${seen.new} new`);
      expect(seen.old).to.be.greaterThan(10);
      expect(seen.new).to.be.greaterThan(1);
    });
  }
});
