/** The built daemon as a separate process, as an operator runs it. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from './wait-for.js';

export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export const QUICK = 'settle: {quiet: 100ms, timeout: 3s}\nretry: {first: 50ms}\n';

/** Daemons of tests run side by side: each listens wherever there is room. */
const ANYWHERE = '\nregistry: {listen: "127.0.0.1:0"}\n';

export class DaemonProcess {
  output = '';

  private constructor(readonly child: ChildProcess) {
    child.stdout?.on('data', (data) => {
      this.output += String(data);
    });
    child.stderr?.on('data', (data) => {
      this.output += String(data);
    });
  }

  static async start(
    root: string,
    {
      yaml = QUICK,
      nodeOptions = [],
      command = 'run',
      flags = [],
      env = ownEnvironment(),
      stdio = 'pipe',
      ready,
      config: name = 'test.yaml',
      readyMs = 15_000,
      user,
    }: {
      yaml?: string;
      /** What its settings' file is called; each of several on one tree has its own. */
      config?: string;
      /** How long its start may take. */
      readyMs?: number;
      nodeOptions?: string[];
      command?: 'run' | 'serve';
      flags?: readonly string[];
      env?: NodeJS.ProcessEnv;
      stdio?: StdioOptions;
      /** For one whose output cannot be read. */
      ready?: () => boolean;
      /** Runs as this one, in no group; by setpriv, and for root alone. */
      user?: number;
    } = {},
  ): Promise<DaemonProcess> {
    const config = join(root, name);
    writeFileSync(config, yaml.includes('registry:') ? yaml : yaml + ANYWHERE);
    const given = [...nodeOptions, MAIN, command, '--root', root, '--config', config, ...flags];
    const as = ['--reuid', String(user), '--regid', String(user), '--clear-groups'];
    const daemon = new DaemonProcess(
      user === undefined
        ? spawn(process.execPath, given, { env, stdio })
        : spawn('setpriv', [...as, process.execPath, ...given], { env, stdio }),
    );
    const line = command === 'run' ? 'daemon.ready' : 'registry.ready';
    await waitFor(
      line,
      () => {
        if (daemon.hasEnded) throw new Error(`it ended: ${daemon.output}`);
        return ready ? ready() : daemon.output.includes(line);
      },
      readyMs,
    );
    return daemon;
  }

  /** Where its endpoint listens: `http://127.0.0.1:34567`. */
  get url(): string {
    return /registry\.ready url=(\S+)/.exec(this.output)?.[1] ?? '';
  }

  /** The same without its scheme, as in an image reference. */
  get registry(): string {
    return this.url.replace(/^https?:\/\//, '');
  }

  /** By itself or by a signal. */
  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** @returns the exit code */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.hasEnded) return this.child.exitCode;
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
    return this.child.exitCode;
  }
}

/** Without what is meant for the tests: to dropdock it would be an unknown setting. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env);
  return Object.fromEntries(entries.filter(([name]) => !name.startsWith('DROPDOCK_TEST_')));
}

/** Runs one command to its end. */
export async function dropdock(
  ...given: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...given], { env: ownEnvironment() });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => {
    stdout += String(data);
  });
  child.stderr.on('data', (data) => {
    stderr += String(data);
  });
  await once(child, 'close');
  return { code: child.exitCode, stdout, stderr };
}
