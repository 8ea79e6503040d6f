/**
 * Goal: whatever a system call returns, and wherever the process is killed, a change completes or has no
 * effect, is not reported as complete when it is not, and eventually completes; a running daemon stays up
 * and publishes when the failures stop (I1, I3, I4). Method: a preloaded library disturbs the k-th system
 * call below the tree, including those for locks and registration; check from outside; start a daemon.
 * Each run tries a different part of all k; DROPDOCK_TEST_POINTS=all tries each.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { makeRandom } from '../support/random.js';
import { removeTempDir, removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';
import type { WeatherReport } from './call-points.js';
import { CHANGES, type Change, copyTree, expectedOf, judge, settle } from './changes.js';
import { interferenceEnvironment } from './interference.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const ALL = process.env.DROPDOCK_TEST_POINTS === 'all';
const STEP = ALL ? 1 : 149;
const KILL_STEP = ALL ? 1 : 97;
const CALL_POINTS = fileURLToPath(new URL('./call-points.js', import.meta.url));

describe('interference with every system call', function () {
  this.timeout(ALL ? 7_200_000 : 120_000);
  let place: string;
  let env: NodeJS.ProcessEnv;

  before(function () {
    needTools(this, 'gcc');
    console.info(`      seed ${SEED}`);
    place = tempDir();
    // All trees of this test lie below directories of that name, in this process and in others.
    const below = join(tmpdir(), 'dropdock-test-');
    env = { ...interferenceEnvironment(place, below), TMPDIR: place };
  });

  after(removeTempDirs);

  // Some of the changes in each run, others in others.
  const all = Object.entries(CHANGES);
  for (const [name, change] of ALL ? all : all.filter((_each, at) => (at + SEED) % 4 === 0)) {
    it(`${name} completes or has no effect when a system call fails`, async () => {
      const { code, output } = await run(env, name, String(STEP), String(SEED));
      expect(code, output).to.equal(0);
      const reports = output
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as WeatherReport);
      for (const { weather, old, new: changed, silent, violations } of reports) {
        const notSaid = Object.keys(silent).length > 0 ? `, silent ${JSON.stringify(silent)}` : '';
        console.info(
          `      ${name}, ${weather}: ${old + changed + violations.length} points, ${old} old, ` +
            `${changed} new, ${violations.length} violations${notSaid}`,
        );
      }
      expect(reports).to.have.length(9);
      expect(reports.flatMap(({ violations }) => violations)).to.deep.equal([]);
    });

    it(`${name} completes or has no effect when killed at a system call`, async () => {
      const template = tempDir();
      await change.prepare(template);
      const seen = await killEach(name, change, template);
      removeTempDir(template);
      const points = seen.old + seen.new;
      console.info(`      ${name}: ${points} kills, ${seen.old} old, ${seen.new} new`);
      if (ALL) expect(points).to.be.greaterThan(15);
    });
  }

  async function killEach(
    name: string,
    change: Change,
    template: string,
  ): Promise<{ old: number; new: number }> {
    const done = copyTree(template);
    const expected = await expectedOf(change, done);
    removeTempDir(done);
    const seen = { old: 0, new: 0 };
    let k = 1 + Math.floor(makeRandom(SEED + name.length)() * KILL_STEP) - KILL_STEP;
    let isExpired = false;
    const worker = async () => {
      while (!isExpired) {
        k += KILL_STEP;
        const at = k;
        const root = copyTree(template);
        const { code, signal, output } = await run(env, name, '1', '0', root, String(at));
        if (signal !== 'SIGKILL') {
          expect(code, output).to.equal(0);
          isExpired = true;
        } else {
          try {
            seen[judge(root, expected)]++;
            await settle(root, change, expected);
          } catch (error) {
            throw new Error(`${name}, killed at ${at}: ${(error as Error).message}`);
          }
        }
        removeTempDir(root);
      }
    };
    await Promise.all(ALL ? [worker(), worker(), worker()] : [worker()]);
    return seen;
  }
});

async function run(
  env: NodeJS.ProcessEnv,
  ...given: readonly string[]
): Promise<{ code: number | null; signal: string | null; output: string }> {
  const child = spawn(process.execPath, [CALL_POINTS, ...given], { env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += String(data);
    });
  }
  await once(child, 'close');
  return { code: child.exitCode, signal: child.signalCode, output };
}
