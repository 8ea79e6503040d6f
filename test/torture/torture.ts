/**
 * `npm run torture -- [--minutes 10] [--seed N] [--only NAME]`: runs the crash tests repeatedly in their
 * long form, each round with the next seed, until the time is over. A failure stops it and prints how to
 * repeat that round.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { TRIALS, type Trial } from './trials.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    only: { type: 'string' },
  },
});
const minutes = Number(values.minutes);
const firstSeed = Number(values.seed ?? Date.now() % 2 ** 31);
const names = Object.keys(TRIALS).filter(
  (name) => values.only === undefined || name === values.only,
);
const known = Object.keys(TRIALS).join(', ');
if (!(minutes > 0) || !Number.isInteger(firstSeed) || names.length === 0) {
  process.stderr.write(
    `usage: npm run torture -- [--minutes 10] [--seed N] [--only NAME]; NAME: ${known}\n`,
  );
  process.exit(2);
}
const KILL_MS = 10_000;

process.exitCode = await torture();

/** @returns the exit code */
async function torture(): Promise<number> {
  const end = performance.now() + minutes * 60_000;
  for (let round = 0; ; round++) {
    const seed = firstSeed + round;
    for (const name of names) {
      const leftMs = end - performance.now();
      if (leftMs <= 0) {
        console.info(`\nthe time is over: nothing was found; go on with --seed ${seed}`);
        return 0;
      }
      const began = performance.now();
      const how = await run(name, seed, leftMs);
      const took = ((performance.now() - began) / 1000).toFixed(0);
      console.info(`\ntorture ${name} seed=${seed} ${how} took=${took}s`);
      if (how === 'failed') {
        process.stderr.write(`again: npm run torture -- --only ${name} --seed ${seed}\n`);
        return 1;
      }
    }
  }
}

async function run(
  name: string,
  seed: number,
  leftMs: number,
): Promise<'passed' | 'failed' | 'cut off'> {
  const { files, environment } = TRIALS[name] as Trial;
  const place = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'torture-'));
  // Apache gives up root, and must be able to read what is published in it.
  chmodSync(place, 0o755);
  const child = spawn(
    'npx',
    [
      'mocha',
      '--no-package',
      ...['--timeout', '60000', '--file', 'dist-test/support/root-hooks.js'],
      ...files.map((file) => `dist-test/${file}.test.js`),
    ],
    {
      stdio: 'inherit',
      // A group of its own, so that what it started ends with it.
      detached: true,
      env: { ...process.env, ...environment, DROPDOCK_TEST_SEED: String(seed), TMPDIR: place },
    },
  );
  let isCut = false;
  const timer = setTimeout(() => {
    isCut = true;
    killGroup(child.pid, 'SIGTERM');
    // A test that waits in a synchronous call handles no signal.
    setTimeout(() => killGroup(child.pid, 'SIGKILL'), KILL_MS).unref();
  }, leftMs);
  await once(child, 'exit');
  clearTimeout(timer);
  tidy(place);
  if (isCut) return 'cut off';
  return child.exitCode === 0 ? 'passed' : 'failed';
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid) process.kill(-pid, signal);
  } catch {
    // It has ended.
  }
}

/** What a test that was cut off has left. */
function tidy(place: string): void {
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, mounted = ''] = line.split(' ');
    if (mounted.startsWith(`${place}/`)) spawnSync('umount', ['--lazy', mounted]);
  }
  rmSync(place, { recursive: true, force: true });
}
