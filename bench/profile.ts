/** Profiles a running process: samples its stacks with perf, and counts its system calls with strace. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { threadsOf, until } from './command.js';

const LINES_MAX = 16;

/** In these system calls a thread only waits; with many threads they would dominate the graph. */
const WAITING = /(futex|epoll_p?wait2?|restart_syscall|clock_nanosleep)$/;

/** Not exactly 1,000, to avoid aliasing with work that is done every millisecond. */
const SAMPLES_PER_S = 997;

/** Twice the depth of our JavaScript stacks, including frames of V8. */
const STACK_MAX = 500;

/** With these options perf knows the names of JavaScript functions. */
export const SAMPLED_WITH: readonly string[] = ['--perf-basic-prof'];

/** Samples all threads. @returns how to stop, which returns the input of `readStacks` */
export async function sample(pid: number): Promise<{ stop(): Promise<string> }> {
  const place = mkdtempSync(join(tmpdir(), 'dropdock-perf-'));
  const file = join(place, 'perf.data');
  try {
    writeFileSync('/proc/sys/kernel/perf_event_max_stack', `${STACK_MAX}`);
  } catch {
    // Not permitted: deep stacks then lose their outermost functions.
  }
  const given = ['record', '-F', `${SAMPLES_PER_S}`, '-g', '-o', file, '-p', `${pid}`];
  // Perf takes a while to start: it is told to begin, and acknowledges.
  const child = spawn('perf', [...given, '--delay=-1', '--control=fd:3,4'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  const [, , , control, answers] = child.stdio;
  (control as Writable).write('enable\n');
  await once(answers as Readable, 'data');
  return {
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGINT');
      await exited;
      const script = ['script', '-i', file, '-F', 'ip,sym,dso', '--no-inline'];
      const text = execFileSync('perf', script, {
        maxBuffer: 2 ** 31 - 1,
        stdio: ['ignore', 'pipe', 'ignore'],
      }).toString('utf8');
      rmSync(place, { recursive: true });
      return text;
    },
  };
}

export interface Counted {
  readonly text: string;
}

/** Attaches to all threads. Slows the process down, so counted runs are not timed. */
export async function countCalls(pid: number): Promise<{ stop(): Promise<Counted> }> {
  const place = mkdtempSync(join(tmpdir(), 'dropdock-strace-'));
  const file = join(place, 'counts');
  const given = ['-c', '-f', '-S', 'time', '-w', '-o', file, '-p', String(pid)];
  const child = spawn('strace', given, { stdio: 'ignore' });
  await until('strace to attach', () => threadsOf(pid).every((thread) => isTraced(pid, thread)));
  return {
    stop: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGINT');
      await exited;
      const text = readFileSync(file, 'utf8');
      const lines = text.split('\n').filter((each) => !WAITING.test(each));
      rmSync(place, { recursive: true });
      return { text: [...lines.slice(0, LINES_MAX), lines.at(-2) ?? ''].join('\n') };
    },
  };
}

function isTraced(pid: number, thread: string): boolean {
  const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
  return /^TracerPid:\s+[1-9]/m.test(status);
}
