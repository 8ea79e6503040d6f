/** Where the time goes: the system calls of a running process, counted by strace. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { threadsOf, until } from './command.js';

const LINES_MAX = 16;

/** In these a thread only waits for another; with many threads they would hide the rest. */
const WAITING = /(futex|epoll_p?wait2?|restart_syscall|clock_nanosleep)$/;

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
