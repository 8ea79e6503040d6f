/** Runs other programs, and reads the resource usage of a running process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** /proc/<pid>/stat counts in ticks of 10 ms on every Linux. */
const TICKS_PER_S = 100;

/** @returns its output @throws if it fails */
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

/** Runs a bash script; $1, $2 … are the arguments. */
export function shell(script: string, ...given: readonly string[]): Promise<string> {
  return command('bash', '-euo', 'pipefail', '-c', script, 'bench', ...given);
}

export interface Spent {
  readonly userS: number;
  readonly systemS: number;
}

/** CPU time of all threads, including ended ones. */
export function spentBy(pid: number): Spent {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return { userS: Number(fields[11]) / TICKS_PER_S, systemS: Number(fields[12]) / TICKS_PER_S };
}

/** CPU time in seconds, user and system. */
export function cpuOfS(pid: number): number {
  const { userS, systemS } = spentBy(pid);
  return userS + systemS;
}

/** Resident memory now and its maximum, in MiB. */
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

/** Waits for a condition. @throws on timeout */
export async function until<T>(
  what: string,
  find: () => T | undefined | false | Promise<T | undefined | false>,
  { everyMs = 5, withinMs = 600_000 }: { everyMs?: number; withinMs?: number } = {},
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`${what}: timeout after ${withinMs} ms`);
    await pause(everyMs);
  }
}
