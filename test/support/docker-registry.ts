/** Debian's docker-registry (distribution 2.8) for comparison: on any port, without persistent data. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from './wait-for.js';

export class DockerRegistry {
  private constructor(
    readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(directory: string): Promise<DockerRegistry> {
    const config = join(directory, 'docker-registry.yml');
    const storage = { filesystem: { rootdirectory: join(directory, 'docker-registry') } };
    const text = { version: 0.1, log: { level: 'info' }, storage, http: { addr: '127.0.0.1:0' } };
    // JSON is YAML.
    writeFileSync(config, JSON.stringify(text));
    const child = spawn('docker-registry', ['serve', config]);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += String(data);
      });
    }
    const port = await waitFor('docker-registry', () => /listening on \S+:(\d+)/.exec(output)?.[1]);
    return new DockerRegistry(child, `http://127.0.0.1:${port}`);
  }

  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}
