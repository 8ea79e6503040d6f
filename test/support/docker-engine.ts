/**
 * Docker's engine in its own directory, without a container network: it pulls images and runs nothing. It
 * accepts plain HTTP from 127.0.0.1 by default.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasTools, tool } from './tools.js';
import { waitFor } from './wait-for.js';

export class DockerEngine {
  private constructor(
    readonly place: string,
    readonly child: ChildProcess,
  ) {}

  static async start(place: string): Promise<DockerEngine> {
    const directories = ['data-root', 'exec-root'].map((name) => `--${name}=${join(place, name)}`);
    const nothing = ['--iptables=false', '--ip6tables=false', '--bridge=none'];
    const given = [
      ...directories,
      ...nothing,
      `--pidfile=${join(place, 'pid')}`,
      `--host=unix://${join(place, 'd.sock')}`,
      '--storage-driver=vfs',
    ];
    const child = spawn('dockerd', given);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += String(data);
      });
    }
    const engine = new DockerEngine(place, child);
    const isUp = () => {
      if (child.exitCode !== null) throw new Error(`dockerd ended: ${output}`);
      return output.includes('API listen on');
    };
    await waitFor('dockerd', isUp, 60_000);
    return engine;
  }

  /** As a person whose logins are kept under this name. */
  as(person: string): (...given: readonly string[]) => Promise<string> {
    const config = join(this.place, `config-${person}`);
    mkdirSync(config, { recursive: true });
    const host = `unix://${join(this.place, 'd.sock')}`;
    return (...given) => tool('docker', '--config', config, '--host', host, ...given);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
  }
}

/** For a suite's `before`: skips it where the engine cannot run, or fails it in CI. */
export function needDockerEngine(context: Mocha.Context): void {
  const trouble = !hasTools('dockerd', 'docker')
    ? 'needs dockerd, docker'
    : process.getuid?.() !== 0 && 'needs root, for dockerd';
  if (trouble === false) return;
  if (process.env.CI) throw new Error(trouble);
  console.info(`      skipped: ${trouble}`);
  context.skip();
}
