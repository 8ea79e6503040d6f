/**
 * One attempt to tell somebody: a program is run, or a URL is posted to. Never throws; never takes
 * longer than it may; what it says of a failure holds neither the secret nor the URL's path.
 */
import { spawn } from 'node:child_process';
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';
import { isSystemError } from '../errors.js';
import { readConfigured } from '../storage/serving.js';
import { formatTime } from '../units.js';
import { type Notice, noticeHeaders, noticeVariables, type Target } from './notice.js';

export type Delivery =
  | { readonly ok: true }
  /**
   * `absent`: nobody is there, or says to come later: what is next would fare no better. `refused`:
   * this very notice was not taken.
   */
  | { readonly ok: false; readonly why: 'absent' | 'refused'; readonly what: string };

export interface Attempt {
  readonly target: Target;
  readonly notice: Notice;
  /** The notice's text: what is posted, or given on standard input. */
  readonly body: Buffer;
  /** What the program gets besides its own variables. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Ends the attempt. */
  readonly signal: AbortSignal;
}

export async function deliver(attempt: Attempt): Promise<Delivery> {
  const { how } = attempt.target;
  try {
    return await ('run' in how ? runProgram(attempt, how.run) : post(attempt, how));
  } catch (error) {
    return absent(codeOf(error));
  }
}

const absent = (what: string): Delivery => ({ ok: false, why: 'absent', what });
const refused = (what: string): Delivery => ({ ok: false, why: 'refused', what });

/** Answers that mean "not now" (RFC 9110, RFC 8470, RFC 6585). */
const NOT_NOW = new Set([408, 425, 429]);

async function post(
  { target, notice, body, signal }: Attempt,
  { post: url, secretFile }: { readonly post: string; readonly secretFile: string | undefined },
): Promise<Delivery> {
  let secret: Buffer | undefined;
  try {
    if (secretFile !== undefined) secret = trimmed(await readConfigured(secretFile));
  } catch (error) {
    return absent(`the secret cannot be read (${codeOf(error)})`);
  }
  // An empty key is a signature that anybody can make.
  if (secret?.length === 0) return absent('the secret is empty');
  const timeout = AbortSignal.timeout(target.timeoutMs);
  const options = {
    method: 'POST',
    headers: noticeHeaders(notice, body, secret),
    // No connection is kept: the next notice may be hours away.
    agent: false as const,
    signal: AbortSignal.any([signal, timeout]),
  };
  return new Promise((resolve) => {
    const request = (url.startsWith('https:') ? overHttps : overHttp)(url, options, (response) => {
      const { statusCode = 0 } = response;
      response.on('error', () => {});
      // What it says besides its status is nobody's business, and may have no end.
      response.destroy();
      resolve(judge(statusCode));
    });
    request.on('error', (error) => {
      resolve(
        absent(timeout.aborted ? `no answer in ${formatTime(target.timeoutMs)}` : codeOf(error)),
      );
    });
    request.end(body);
  });
}

function judge(status: number): Delivery {
  if (status >= 200 && status < 300) return { ok: true };
  const what = `answered ${status}`;
  return status >= 500 || NOT_NOW.has(status) ? absent(what) : refused(what);
}

/** A last newline is the editor's and no part of the secret. */
function trimmed(secret: Buffer): Buffer {
  return Buffer.from(secret.toString('latin1').replace(/\r?\n$/, ''), 'latin1');
}

/** sysexits.h: the program asks to be run again later. */
const EX_TEMPFAIL = 75;
const KILL_MS = 2000;
const STDERR_BYTES_MAX = 4096;

function runProgram(
  { target, notice, body, environment, signal }: Attempt,
  [program = '', ...given]: readonly string[],
): Promise<Delivery> {
  return new Promise((resolve) => {
    // Its own process group: what it has started ends with it.
    const child = spawn(program, given, {
      stdio: ['pipe', 'ignore', 'pipe'],
      detached: true,
      env: { ...ofOthers(environment), ...noticeVariables(notice) },
    });
    // First of all: without pipes (too many open files) the next lines throw.
    child.on('error', (error) => finish(absent(codeOf(error))));
    let said = '';
    let ended: string | undefined;
    const timers = [
      setTimeout(() => end(`still ran after ${formatTime(target.timeoutMs)}`), target.timeoutMs),
    ];
    const onAbort = () => end('was stopped');
    signal.addEventListener('abort', onAbort);
    child.stderr.on('data', (data) => {
      said = (said + String(data)).slice(-STDERR_BYTES_MAX);
    });
    // A program need not read what it is given.
    child.stdin.on('error', () => {});
    child.stdin.end(body);
    // Not 'close': a child of its own may hold on to standard error for ever.
    child.on('exit', (code, byWhat) => {
      if (ended !== undefined) return finish(refused(ended));
      if (code === 0) return finish({ ok: true });
      const last = said.trimEnd().split('\n').at(-1)?.slice(0, 300);
      const how = code === null ? `ended by ${byWhat}` : `exit code ${code}`;
      const what = last ? `${how}: ${last}` : how;
      finish(code === EX_TEMPFAIL ? absent(what) : refused(what));
    });
    if (signal.aborted) onAbort();

    function end(why: string): void {
      if (ended !== undefined) return;
      ended = why;
      kill('SIGTERM');
      timers.push(setTimeout(() => kill('SIGKILL'), KILL_MS));
    }

    function kill(how: NodeJS.Signals): void {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, how);
      } catch {
        // It has ended, or has become somebody else's: it is told of as late all the same.
      }
    }

    function finish(delivery: Delivery): void {
      for (const timer of timers) clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      // What it left behind of its group has had its time.
      if (ended !== undefined) kill('SIGKILL');
      child.stderr?.destroy();
      resolve(delivery);
    }
  });
}

/** What systemd meant for the daemon alone: a program that found it could answer for the daemon. */
function ofOthers(environment: Attempt['environment']): Attempt['environment'] {
  const entries = Object.entries(environment);
  return Object.fromEntries(
    entries.filter(([name]) => !/^(NOTIFY_SOCKET$|LISTEN_|WATCHDOG_)/.test(name)),
  );
}

function codeOf(error: unknown): string {
  return isSystemError(error) ? error.code : (error as Error).message;
}
