/**
 * Runs the shipped program as a separate process, with the default settings and the environment of its unit.
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { end, start } from './children.js';
import { pause, type Spent, spentBy, until } from './command.js';
import { namesIn } from './layers.js';
import { sha256 } from './layout.js';
import { countCalls, SAMPLED_WITH, sample } from './profile.js';
import type { Context } from './question.js';
import { smallDrops } from './small-drops.js';
import { figure } from './statistics.js';
import { Web } from './visible.js';

export const LISTEN = 'registry: {listen: "127.0.0.1:0"}\n';

export const CONFIG_NAME = 'bench.yaml';

/** Time without changes after which a drop is claimed at once (`settle.quiet`). */
const QUIET_MS = 1000;

export interface DaemonOptions {
  readonly yaml?: string;
  readonly nodeOptions?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** The environment of the shipped unit. */
function unitEnvironment(): NodeJS.ProcessEnv {
  const unit = new URL('../systemd/dropdock.service', import.meta.url);
  const lines = readFileSync(unit, 'utf8').matchAll(/^Environment=(\w+)=(\S+)$/gm);
  return Object.fromEntries([...lines].map(([, name, value]) => [name, value]));
}

export class Daemon {
  readonly web: Web;
  #spent: Spent = { userS: 0, systemS: 0 };

  private constructor(
    readonly context: Context,
    readonly root: string,
    readonly child: ChildProcess,
  ) {
    this.web = new Web(this.published);
  }

  /** @param root contains all directories, as with `--root` */
  static async start(
    context: Context,
    root: string,
    { yaml = '', nodeOptions = [], env = {} }: DaemonOptions = {},
  ): Promise<Daemon> {
    mkdirSync(root, { recursive: true });
    const config = join(root, CONFIG_NAME);
    writeFileSync(config, LISTEN + yaml);
    const log = openSync(join(root, 'log'), 'a');
    const profiled = context.profile === 'stacks' ? SAMPLED_WITH : [];
    const given = [
      ...nodeOptions,
      ...profiled,
      context.main,
      'run',
      '--root',
      root,
      '--config',
      config,
    ];
    const environment = { ...process.env, ...unitEnvironment(), ...env };
    const child = start(process.execPath, given, {
      stdio: ['ignore', log, log],
      env: environment,
      // V8 writes its map for perf into the working directory.
      cwd: root,
    });
    closeSync(log);
    const ready = () => {
      if (child.exitCode !== null) throw new Error(`the daemon exited: ${logOf(root)}`);
      return logOf(root).includes('daemon.ready');
    };
    await until('daemon.ready', ready, { everyMs: 2 });
    return new Daemon(context, root, child);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get inbox(): string {
    return join(this.root, 'inbox');
  }

  get published(): string {
    return join(this.root, 'published');
  }

  /** URL of its endpoint: `http://127.0.0.1:34567`. */
  get url(): string {
    return /registry\.ready url=(\S+)/.exec(logOf(this.root))?.[1] ?? '';
  }

  stored(digest: string): string {
    const hex = digest.slice(7);
    return join(this.root, 'state', 'content', 'sha256', hex.slice(0, 2), hex);
  }

  /** Adds the CPU time during `run` to `spent`. */
  async measured<T>(run: () => Promise<T>): Promise<T> {
    const { profile } = this.context;
    const counting = profile === 'calls' ? await countCalls(this.pid) : undefined;
    const sampling = profile === 'stacks' ? await sample(this.pid) : undefined;
    const before = spentBy(this.pid);
    const value = await run();
    const after = spentBy(this.pid);
    this.#spent = {
      userS: this.#spent.userS + after.userS - before.userS,
      systemS: this.#spent.systemS + after.systemS - before.systemS,
    };
    const calls = await counting?.stop();
    if (calls) this.context.counted(calls.text);
    const stacks = await sampling?.stop();
    if (stacks) this.context.sampled(stacks);
    return value;
  }

  get spent(): Spent {
    return this.#spent;
  }

  /** Waits until no drop is claimed: the work after a flip is finished. */
  async idle(): Promise<void> {
    const isExpired = () => namesIn(join(this.inbox, '.claimed')).length === 0;
    await until('the claims to go', isExpired, { everyMs: 2 });
  }

  /** Waits until there is a spare tree of the current snapshot (spare-tree.ts). */
  async hasSpareTree(id: string): Promise<void> {
    const work = join(this.root, 'state', 'work');
    const current = `${basename(this.web.target(id) ?? '')}@`;
    const isWhole = (name: string) =>
      namesIn(join(work, name)).some((tree) => tree.startsWith(current));
    const isThere = () =>
      namesIn(work).some((name) => name.endsWith(`-spare-${id}`) && isWhole(name));
    await until('the spare tree', isThere, { everyMs: 20 });
  }

  /** Warms up the daemon: its threads are started, its code is compiled. */
  async warm(): Promise<void> {
    const place = join(this.root, 'warm');
    const drops = smallDrops(place, { count: 10, repositories: 2, tagOf: String });
    await still();
    for (const { path, repository, tag } of drops) {
      const before = this.web.target(`warm-${repository}`);
      renameSync(path, join(this.inbox, `warm-${repository}:${tag}`));
      await this.web.moved(`warm-${repository}`, before);
      await this.idle();
    }
  }

  /** @throws unless the manifest has this digest, and all its blobs are served */
  async check(name: string, tag: string, digest: string): Promise<void> {
    await checkPull(this.url, { name, tag, digest });
  }

  async stop(): Promise<void> {
    this.web.close();
    await end(this.child);
  }
}

const logOf = (root: string) => readFileSync(join(root, 'log'), 'utf8');

/** Waits until new files count as quiet. */
export const still = () => pause(QUIET_MS + 100);

export async function checkPull(
  url: string,
  { name, tag, digest }: { name: string; tag: string; digest: string },
): Promise<void> {
  const accept = 'application/vnd.oci.image.manifest.v1+json';
  const answer = await fetch(`${url}/v2/${name}/manifests/${tag}`, { headers: { accept } });
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (sha256(bytes) !== digest) throw new Error(`${name}:${tag} is not ${digest}: ${bytes}`);
  const { config, layers } = JSON.parse(String(bytes));
  for (const blob of [config, ...layers]) {
    const head = await fetch(`${url}/v2/${name}/blobs/${blob.digest}`, { method: 'HEAD' });
    const size = Number(head.headers.get('content-length'));
    if (size !== blob.size) throw new Error(`${blob.digest} of ${name} has ${size} bytes`);
  }
}

/** Text for the remark of a row. @param times number of measurements in the sum */
export function spentText({ userS, systemS }: Spent, times: number): string {
  const each = (value: number) => `${figure((value / times) * 1000)} ms`;
  return `the daemon's CPU: ${each(userS)} user, ${each(systemS)} system`;
}
