/** A repository with stale snapshots, with concurrent pulls and publishes. */
import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command, pause, seconds, until } from './command.js';
import { CONFIG_NAME, Daemon, LISTEN, still } from './daemon.js';
import { namesIn } from './layers.js';
import { image, writeLayout } from './layout.js';
import type { Context } from './question.js';
import { type SmallDrop, smallDrops, smallImage } from './small-drops.js';

const REPOSITORY = 'mirror';
const KEEP = 3;

/** The snapshots are some days old and not yet stale; a reload of the settings makes them stale. */
const LENIENT = 'retention: {grace: 30d}\n';
const STRICT = `retention: {keep: ${KEEP}, grace: 1h}\n`;

/** Intervals of the pulls and publishes. */
const PULL_EVERY_MS = 20;
const DROP_EVERY_MS = 150;

export interface Watched {
  readonly pullsMs: number[];
  readonly dropsMs: number[];
  failed: number;
}

export const none = (): Watched => ({ pullsMs: [], dropsMs: [], failed: 0 });

export class CleaningWorld {
  #serial = 0;

  private constructor(
    readonly context: Context,
    readonly daemon: Daemon,
    readonly snapshot: string,
    readonly entries: number,
    readonly drops: SmallDrop[],
  ) {}

  static async make(context: Context, tags: number): Promise<CleaningWorld> {
    const { directory } = context;
    const root = join(directory, 'cleaning');
    const drop = join(directory, 'cleaning-drop');
    const all = Array.from({ length: tags }, (_none, at) => ({
      image: image([], `clean-${at}`),
      tag: `v${at}`,
    }));
    writeLayout(drop, all, { layers: 'absent' });
    const drops = smallDrops(join(directory, 'cleaning-small'), {
      count: 2000,
      repositories: 20,
      tagOf: (turn) => `t${turn}`,
    });
    await command('sync', '-f', directory);
    const daemon = await Daemon.start(context, root, { yaml: LENIENT });
    await daemon.warm();
    renameSync(drop, join(daemon.inbox, REPOSITORY));
    await daemon.web.moved(REPOSITORY, undefined);
    await daemon.idle();
    const snapshot = join(daemon.published, 'web', REPOSITORY);
    const listed = await command('find', `${snapshot}/`);
    return new CleaningWorld(context, daemon, snapshot, listed.split('\n').length - 1, drops);
  }

  get #master(): string {
    return join(this.daemon.published, 'master', REPOSITORY);
  }

  /** @returns the copies: next to the real snapshots, or elsewhere on the same filesystem */
  async copies(count: number, where: 'master' | 'rm'): Promise<string> {
    const to = where === 'master' ? this.#master : join(this.context.directory, 'cleaning-rm');
    if (where === 'rm') await command('mkdir', to);
    const dayMs = 24 * 3600 * 1000;
    for (let at = 0; at < count; at++) {
      const when = new Date(Date.now() - 2 * dayMs + at * 60_000 + this.#serial++);
      const name = when.toISOString().replaceAll(/[-:]/g, '');
      await command('cp', '-al', `${this.snapshot}/.`, join(to, name));
    }
    await command('sync', '-f', to);
    return to;
  }

  /** A reload makes them stale, and the next publish removes them. @returns seconds */
  async clean(round: number): Promise<number> {
    const { daemon, context } = this;
    this.#reload(STRICT);
    const drop = join(context.directory, `cleaning-one-${round}`);
    const one = { image: smallImage(`cleaning-${round}`, context.directory), tag: `more-${round}` };
    writeLayout(drop, [one], { layers: 'moved' });
    await still();
    const before = daemon.web.target(REPOSITORY);
    renameSync(drop, join(daemon.inbox, REPOSITORY));
    const flipped = await daemon.web.moved(REPOSITORY, before);
    const isClean = () =>
      readdirSync(this.#master).length <= KEEP + round && namesIn(this.#trash).length === 0;
    await until('the snapshots to go', isClean, { everyMs: 10, withinMs: 300_000 });
    const took = seconds(flipped);
    this.#reload(LENIENT);
    await daemon.check(REPOSITORY, one.tag, one.image.manifest.digest);
    return took;
  }

  get #trash(): string {
    return join(this.daemon.root, 'state', 'trash');
  }

  #reload(yaml: string): void {
    writeFileSync(join(this.daemon.root, CONFIG_NAME), LISTEN + yaml);
    process.kill(this.daemon.pid, 'SIGHUP');
  }

  /** Pulls and publishes as long as `run` takes. */
  async watched(run: () => Promise<void>): Promise<Watched> {
    const seen = none();
    let isExpired = false;
    const each = async (everyMs: number, once: () => Promise<void>) => {
      while (!isExpired) {
        await once();
        await pause(everyMs);
      }
    };
    const url = `${this.daemon.url}/v2/${REPOSITORY}/manifests/v1`;
    const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
    const pulls = each(PULL_EVERY_MS, async () => {
      const begin = performance.now();
      const answer = await fetch(url, { headers });
      await answer.arrayBuffer();
      if (!answer.ok) seen.failed++;
      seen.pullsMs.push(performance.now() - begin);
    });
    const publishes = each(DROP_EVERY_MS, async () => {
      const drop = this.drops.pop();
      if (drop) seen.dropsMs.push(await this.#dropOne(drop));
    });
    await run();
    isExpired = true;
    await Promise.all([pulls, publishes]);
    return seen;
  }

  async #dropOne({ path, repository, tag }: SmallDrop): Promise<number> {
    const { web, inbox } = this.daemon;
    const before = web.target(repository);
    const begin = performance.now();
    renameSync(path, join(inbox, `${repository}:${tag}`));
    return (await web.moved(repository, before)) - begin;
  }

  async end(): Promise<void> {
    await this.daemon.stop();
    for (const name of ['cleaning', 'cleaning-small']) {
      rmSync(join(this.context.directory, name), { recursive: true });
    }
  }
}
