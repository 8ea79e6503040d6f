/** Debian's docker-registry (distribution 2.8), without access logs, like nginx and dropdock here. */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { end, start } from '../children.js';
import { command, until } from '../command.js';

export class DockerRegistry {
  private constructor(
    readonly child: ChildProcess,
    /** `127.0.0.1:34567` */
    readonly address: string,
  ) {}

  static async start(directory: string): Promise<DockerRegistry> {
    mkdirSync(directory, { recursive: true });
    const config = join(directory, 'registry.yml');
    const settings = {
      version: 0.1,
      log: { level: 'info', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(directory, 'data') } },
      http: { addr: '127.0.0.1:0' },
    };
    // JSON is YAML.
    writeFileSync(config, JSON.stringify(settings));
    const child = start('docker-registry', ['serve', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data) => {
        if (output.length < 10_000) output += String(data);
      });
    }
    const port = await until('docker-registry', () => /listening on \S+:(\d+)/.exec(output)?.[1]);
    return new DockerRegistry(child, `127.0.0.1:${port}`);
  }

  /** @param from `oci:<directory>:<tag>` @param name `app:1.0` */
  async push(from: string, name: string): Promise<void> {
    const to = `docker://${this.address}/${name}`;
    await command('skopeo', 'copy', '--quiet', '--dest-tls-verify=false', from, to);
  }

  stop(): Promise<void> {
    return end(this.child, 'SIGKILL');
  }
}
