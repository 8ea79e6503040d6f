/** Where the time goes: what a running process does, as perf samples it, and its system calls, counted by strace. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { threadsOf, until } from './command.js';

const LINES_MAX = 16;

/** In these a thread only waits for another; with many threads they would hide the rest. */
const WAITING = /(futex|epoll_p?wait2?|restart_syscall|clock_nanosleep)$/;

/** A little off 1,000, so that it does not beat with what happens each millisecond. */
const SAMPLES_PER_S = 997;

/** Twice what JavaScript of ours comes to, with what V8 puts between. */
const STACK_MAX = 500;

/** JavaScript has names in it where the process was started with these. */
export const SAMPLED_WITH: readonly string[] = ['--perf-basic-prof'];

/** Samples all threads. @returns how to stop, which gives what `readStacks` reads */
export async function sample(pid: number): Promise<{ stop(): Promise<string> }> {
  const place = mkdtempSync(join(tmpdir(), 'dropdock-perf-'));
  const file = join(place, 'perf.data');
  try {
    writeFileSync('/proc/sys/kernel/perf_event_max_stack', `${STACK_MAX}`);
  } catch {
    // Not allowed: deep stacks lose their outermost functions.
  }
  const given = ['record', '-F', `${SAMPLES_PER_S}`, '-g', '-o', file, '-p', `${pid}`];
  // It takes its time to begin: it is told to, and says when it has.
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

/** Attaches to all threads. It slows the process down: what is counted is not what is timed. */
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
