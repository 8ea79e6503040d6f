/** A minimal Debian that systemd-nspawn boots in a container with its own network. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { tool } from './tools.js';
import { waitFor } from './wait-for.js';

const PACKAGES = 'systemd,systemd-sysv,dbus,libstdc++6,logrotate,init-system-helpers';

export class Machine {
  private constructor(
    readonly directory: string,
    readonly child: ChildProcess,
  ) {}

  /** @param base a tar that mmdebstrap made before; it is made where there is none */
  static async boot(directory: string, base: string): Promise<Machine> {
    if (!existsSync(base)) {
      await tool(
        'mmdebstrap',
        '--quiet',
        '--variant=minbase',
        `--include=${PACKAGES}`,
        'bookworm',
        base,
      );
    }
    mkdirSync(directory);
    await tool('tar', '-C', directory, '-xf', base);
    const given = [
      '-q',
      '-D',
      directory,
      '--register=no',
      '--keep-unit',
      '--private-network',
      '-b',
    ];
    const child = spawn('systemd-nspawn', [...given, '--console=pipe'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const machine = new Machine(directory, child);
    // Before that, systemctl cannot connect.
    const isUp = async () =>
      machine.init() !== '' &&
      /^(running|degraded)$/m.test(await machine.try('systemctl', 'is-system-running'));
    await waitFor('Debian', isUp, 120_000);
    return machine;
  }

  /** The process number, out here, of its first process: at the beginning there is another. */
  init(): string {
    const { pid } = this.child;
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0] ?? '';
  }

  /** Runs a command inside. @returns its output @throws with it, when it fails */
  run(...command: readonly string[]): Promise<string> {
    const environment = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'];
    return tool('nsenter', '-t', this.init(), '-a', ...environment, ...command);
  }

  /** The same, whether it fails or not. */
  try(...command: readonly string[]): Promise<string> {
    return this.run(...command).catch((error) => String(error));
  }

  /** Runs a tool of the host in the machine's network. */
  beside(...command: readonly string[]): Promise<string> {
    return tool('nsenter', '-t', this.init(), '-n', ...command);
  }

  path(inside: string): string {
    return join(this.directory, inside);
  }

  async journal(unit: string, ...more: readonly string[]): Promise<string> {
    return this.run('journalctl', '--no-pager', '-u', unit, '-o', 'cat', ...more);
  }

  async property(unit: string, name: string): Promise<string> {
    return (await this.run('systemctl', 'show', '-P', name, unit)).trim();
  }

  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    // To systemd-nspawn it means: power off.
    this.child.kill('SIGTERM');
    await exited;
  }
}

/** This machine's Node as a package: Debian 12 has an older one. @returns its path */
export async function packNode(directory: string): Promise<string> {
  const root = join(directory, 'nodejs');
  mkdirSync(join(root, 'DEBIAN'), { recursive: true });
  mkdirSync(join(root, 'usr', 'bin'), { recursive: true });
  copyFileSync(process.execPath, join(root, 'usr', 'bin', 'node'));
  chmodSync(join(root, 'usr', 'bin', 'node'), 0o755);
  const control = {
    Package: 'nodejs',
    Version: process.versions.node,
    Architecture: (await tool('dpkg', '--print-architecture')).trim(),
    Maintainer: 'nobody <nobody@example.org>',
    Depends: 'libstdc++6',
    Description: 'the Node that runs this test',
  };
  const lines = Object.entries(control).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(join(root, 'DEBIAN', 'control'), lines.join(''));
  await tool('dpkg-deb', '-Znone', '--root-owner-group', '-b', root, `${root}.deb`);
  return `${root}.deb`;
}
