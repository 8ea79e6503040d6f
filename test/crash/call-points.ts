/**
 * A process whose system calls are disturbed (interference.ts): it repeats a change, each time with
 * another call disturbed, and prints a line for each kind of disturbance and each violation. Given a tree
 * and a number, it does the change there once, and is killed at that call.
 */

import { faultOf } from '#src/errors.js';
import { nodeDisk } from '#src/storage/disk.js';
import { makeRandom } from '../support/random.js';
import { type TestServices, testServices } from '../support/service.js';
import { removeTempDir, tempDir } from '../support/temp-dir.js';
import {
  CHANGES,
  type Change,
  copyTree,
  type Expected,
  expectedOf,
  judge,
  settle,
  yamlOf,
} from './changes.js';
import { interference, WEATHER, type Weather } from './interference.js';

export interface WeatherReport {
  readonly weather: string;
  readonly old: number;
  readonly new: number;
  /** Of a running daemon: points at which nothing was logged. */
  readonly silent: Readonly<Record<string, number>>;
  readonly violations: readonly string[];
}

const [name = '', step = '1', seed = '0', tree, k = '0'] = process.argv.slice(2);
const change = CHANGES[name] as Change;
if (tree !== undefined) await once(tree, 'a kill', Number(k));
else await sweep();
process.exit(0);

async function sweep(): Promise<void> {
  const template = tempDir();
  await change.prepare(template);
  const copy = copyTree(template);
  const expected = await expectedOf(change, copy);
  removeTempDir(copy);
  const random = makeRandom(Number(seed));
  for (const weather of Object.keys(WEATHER) as Weather[]) {
    if (weather === 'a kill') continue;
    const seen = { old: 0, new: 0, silent: {} as Record<string, number> };
    const violations: string[] = [];
    let isReached = true;
    for (let at = 1 + Math.floor(random() * Number(step)); isReached; at += Number(step)) {
      const root = copyTree(template);
      let hit: string | undefined;
      try {
        const result = await tryPoint(root, expected, weather, at);
        hit = interference.hit();
        if (result !== undefined) {
          seen[result.seen]++;
          const { isSilent } = result;
          if (isSilent && hit) seen.silent[hit] = (seen.silent[hit] ?? 0) + 1;
        }
        isReached = result !== undefined;
      } catch (error) {
        hit = interference.hit();
        isReached = hit !== undefined;
        violations.push(`${name}, ${weather} at ${at} (${hit}): ${(error as Error).message}`);
      }
      removeTempDir(root);
    }
    process.stdout.write(`${JSON.stringify({ weather, ...seen, violations })}\n`);
  }
}

/** @returns undefined when the change was over before. @throws what is not as promised */
async function tryPoint(
  root: string,
  expected: Expected,
  weather: Weather,
  at: number,
): Promise<{ seen: 'old' | 'new'; isSilent: boolean } | undefined> {
  const { error, services } = await once(root, weather, at);
  const isReached = interference.hit() !== undefined;
  if (error !== undefined && change.beginsLate) {
    throw new Error(`${(error as Error).message} ${JSON.stringify(services?.lines)}`);
  }
  if (error !== undefined && faultOf(error) === 'bug') throw error;
  const seen = judge(root, expected);
  const isSaidDone = error === undefined && expected.before.state !== expected.after.state;
  if (isSaidDone && seen === 'old' && !(services && hasWarned(services))) {
    throw new Error('it says that it is done, and it is not');
  }
  await settle(root, change, expected);
  const isSilent = change.beginsLate === true && services !== undefined && !hasWarned(services);
  return isReached ? { seen, isSilent } : undefined;
}

/** The change, with a call disturbed. @returns what it threw */
async function once(
  root: string,
  weather: Weather,
  at: number,
): Promise<{ error?: unknown; services?: TestServices }> {
  let services: TestServices | undefined;
  const begin = () => interference.begin(weather, at);
  const { unseen } = interference;
  try {
    if (!change.beginsLate) begin();
    services = await testServices(root, { yaml: yamlOf(change), disk: nodeDisk });
    try {
      await change.act(services, { begin: change.beginsLate ? begin : () => {}, unseen });
    } finally {
      await services.close();
    }
    return { services };
  } catch (error) {
    return services ? { error, services } : { error };
  } finally {
    interference.end();
  }
}

function hasWarned({ lines }: TestServices): boolean {
  return lines.some(({ level, event }) => level !== 'info' || event === 'drop.waiting');
}
