/** Other programs: run one to its end, and ask the kernel what a running one has spent. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** Ticks of /proc/<pid>/stat are of a hundredth of a second on every Linux there is. */
const TICKS_PER_S = 100;

/** @returns what it printed @throws when it fails */
export async function command(program: string, ...given: readonly string[]): Promise<string> {
  const child = spawn(program, given, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (data) => {
    output += String(data);
  });
  child.stderr.on('data', (data) => {
    errors += String(data);
  });
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`${program} ${given.join(' ')}: ${errors}${output}`);
  return output;
}

/** A script for bash; $1, $2 … are what is given. */
export function shell(script: string, ...given: readonly string[]): Promise<string> {
  return command('bash', '-euo', 'pipefail', '-c', script, 'bench', ...given);
}

export interface Spent {
  readonly userS: number;
  readonly systemS: number;
}

/** Of all threads, those that have ended as well. */
export function spentBy(pid: number): Spent {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return { userS: Number(fields[11]) / TICKS_PER_S, systemS: Number(fields[12]) / TICKS_PER_S };
}

/** In seconds, whether the kernel or the program itself spent it. */
export function cpuOfS(pid: number): number {
  const { userS, systemS } = spentBy(pid);
  return userS + systemS;
}

/** Memory that is resident now, and the most it ever was, in MiB. */
export function memoryOf(pid: number): { nowMiB: number; mostMiB: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN) / 1024;
  return { nowMiB: mib('VmRSS'), mostMiB: mib('VmHWM') };
}

export function threadsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`);
}

export const seconds = (sinceMs: number) => (performance.now() - sinceMs) / 1000;

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits for a condition. @throws when it does not come */
export async function until<T>(
  what: string,
  find: () => T | undefined | false | Promise<T | undefined | false>,
  { everyMs = 5, withinMs = 600_000 }: { everyMs?: number; withinMs?: number } = {},
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`${what} did not come within ${withinMs} ms`);
    await pause(everyMs);
  }
}
