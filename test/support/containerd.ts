/** Debian's containerd in its own directory, without the Kubernetes parts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from './tools.js';
import { waitFor } from './wait-for.js';

export class Containerd {
  private constructor(
    readonly child: ChildProcess,
    readonly address: string,
  ) {}

  static async start(place: string): Promise<Containerd> {
    const address = join(place, 'c.sock');
    const config = [
      'version = 2',
      `root = "${place}/root"`,
      `state = "${place}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      `[grpc]\n  address = "${address}"`,
      `[ttrpc]\n  address = "${place}/t.sock"`,
    ];
    writeFileSync(join(place, 'config.toml'), `${config.join('\n')}\n`);
    const child = spawn('containerd', ['-c', join(place, 'config.toml')], { stdio: 'ignore' });
    await waitFor('containerd', () => existsSync(address));
    return new Containerd(child, address);
  }

  readonly ctr = (...given: readonly string[]): Promise<string> =>
    tool('ctr', '-a', this.address, ...given);

  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}
