/**
 * One attempt to deliver a notification: runs a program or posts to a URL. Never throws and never exceeds its
 * timeout. The description of a failure contains neither the secret nor the path of the URL.
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
   * `absent`: the target is unavailable or asks to retry later, so the next notification would fail too.
   * `refused`: the target rejected this notification.
   */
  | { readonly ok: false; readonly why: 'absent' | 'refused'; readonly what: string };

export interface Attempt {
  readonly target: Target;
  readonly notice: Notice;
  /** The text of the notification: the request body, or standard input of the program. */
  readonly body: Buffer;
  /** Environment of the program, besides the notification variables. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Aborts the attempt. */
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

/** Status codes that mean "retry later" (RFC 9110, RFC 8470, RFC 6585). */
const NOT_NOW = new Set([408, 425, 429]);

async function post(
  { target, notice, body, signal }: Attempt,
  { post: url, secretFile }: { readonly post: string; readonly secretFile: string | undefined },
): Promise<Delivery> {
  let secret: Buffer | undefined;
  try {
    if (secretFile !== undefined) secret = trimmed(await readConfigured(secretFile));
  } catch (error) {
    return absent(`cannot read the secret file: ${codeOf(error)}`);
  }
  // With an empty key, any sender could forge the signature.
  if (secret?.length === 0) return absent('the secret file is empty');
  const timeout = AbortSignal.timeout(target.timeoutMs);
  const options = {
    method: 'POST',
    headers: noticeHeaders(notice, body, secret),
    // No keep-alive: the next notification may be hours away.
    agent: false as const,
    signal: AbortSignal.any([signal, timeout]),
  };
  return new Promise((resolve) => {
    const request = (url.startsWith('https:') ? overHttps : overHttp)(url, options, (response) => {
      const { statusCode = 0 } = response;
      response.on('error', () => {});
      // Only the status matters, and the body may be endless.
      response.destroy();
      resolve(judge(statusCode));
    });
    request.on('error', (error) => {
      resolve(
        absent(
          timeout.aborted ? `no response within ${formatTime(target.timeoutMs)}` : codeOf(error),
        ),
      );
    });
    request.end(body);
  });
}

function judge(status: number): Delivery {
  if (status >= 200 && status < 300) return { ok: true };
  const what = `HTTP status ${status}`;
  return status >= 500 || NOT_NOW.has(status) ? absent(what) : refused(what);
}

/** Removes a trailing newline, which editors add and which is not part of the secret. */
function trimmed(secret: Buffer): Buffer {
  return Buffer.from(secret.toString('latin1').replace(/\r?\n$/, ''), 'latin1');
}

/** sysexits.h: the program asks for a retry. */
const EX_TEMPFAIL = 75;
const KILL_MS = 2000;
const STDERR_BYTES_MAX = 4096;

function runProgram(
  { target, notice, body, environment, signal }: Attempt,
  [program = '', ...given]: readonly string[],
): Promise<Delivery> {
  return new Promise((resolve) => {
    // Its own process group, so that its children can be killed with it.
    const child = spawn(program, given, {
      stdio: ['pipe', 'ignore', 'pipe'],
      detached: true,
      env: { ...ofOthers(environment), ...noticeVariables(notice) },
    });
    // Registered first: without pipes (too many open files) the next lines throw.
    child.on('error', (error) => finish(absent(codeOf(error))));
    let said = '';
    let ended: string | undefined;
    const timers = [
      setTimeout(() => end(`timed out after ${formatTime(target.timeoutMs)}`), target.timeoutMs),
    ];
    const onAbort = () => end('aborted');
    signal.addEventListener('abort', onAbort);
    child.stderr.on('data', (data) => {
      said = (said + String(data)).slice(-STDERR_BYTES_MAX);
    });
    // A program may ignore its standard input.
    child.stdin.on('error', () => {});
    child.stdin.end(body);
    // Not 'close': a child of the program may keep standard error open forever.
    child.on('exit', (code, byWhat) => {
      if (ended !== undefined) return finish(refused(ended));
      if (code === 0) return finish({ ok: true });
      const last = said.trimEnd().split('\n').at(-1)?.slice(0, 300);
      const how = code === null ? `killed by ${byWhat}` : `exit code ${code}`;
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
        // The process has exited, or its id now belongs to another user; the timeout is reported anyway.
      }
    }

    function finish(delivery: Delivery): void {
      for (const timer of timers) clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      // Kill the remaining processes of the group, which had time to exit.
      if (ended !== undefined) kill('SIGKILL');
      child.stderr?.destroy();
      resolve(delivery);
    }
  });
}

/**
 * Removes the variables that systemd set for the daemon: a program that uses them could act as the daemon.
 */
function ofOthers(environment: Attempt['environment']): Attempt['environment'] {
  const entries = Object.entries(environment);
  return Object.fromEntries(
    entries.filter(([name]) => !/^(NOTIFY_SOCKET$|LISTEN_|WATCHDOG_)/.test(name)),
  );
}

function codeOf(error: unknown): string {
  return isSystemError(error) ? error.code : (error as Error).message;
}
