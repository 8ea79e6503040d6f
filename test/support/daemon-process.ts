/** The built daemon as a process of its own, as an operator runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from './wait-for.js';

export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

export const QUICK = 'settle: {quiet: 100ms, timeout: 3s}\nretry: {first: 50ms}\n';

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
    { yaml = QUICK, nodeOptions = [] }: { yaml?: string; nodeOptions?: string[] } = {},
  ): Promise<DaemonProcess> {
    const config = join(root, 'test.yaml');
    writeFileSync(config, yaml);
    const given = [...nodeOptions, MAIN, 'run', '--root', root, '--config', config];
    const daemon = new DaemonProcess(spawn(process.execPath, given));
    await waitFor('daemon.ready', () => daemon.output.includes('daemon.ready'));
    return daemon;
  }

  /** @returns the exit code */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
    return this.child.exitCode;
  }
}

/** Runs one command to its end. */
export async function dropdock(
  ...given: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...given]);
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
