/** An image of 40 layers, of which one is new: unchanged layers should cost almost nothing. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, seconds, shell } from '../command.js';
import { Daemon, spentText, still } from '../daemon.js';
import { type Layer, makeLayers } from '../layers.js';
import { type Image, image, writeLayout } from '../layout.js';
import { DockerRegistry } from '../peers/docker-registry.js';
import { copyAndFlip } from '../peers/skopeo-dir.js';
import { type Answer, type Context, faster, interleave, type Question } from '../question.js';

const LAYERS = 40;

export const changed: Question = {
  name: 'changed',
  asks: `An image of ${LAYERS} layers, 50 MiB each, is published; then an image with one of the layers replaced.`,
  rounds: 3,
  run: async (context): Promise<Answer> => {
    const world = await World.make(context);
    const sides = {
      registry: (round: number) => world.byRegistry(round),
      script: (round: number) => world.byScript(round),
      thin: (round: number) => world.byDropdock('thin', round),
      full: (round: number) => world.byDropdock('full', round),
    };
    const samples = await interleave(context, sides, { warm: false });
    await world.end();
    const registry = {
      name: '`skopeo copy oci: docker://` into docker-registry',
      samples: samples.registry,
      without: 'sends the new layer only; the registry syncs nothing',
    };
    const script = {
      name: '`skopeo copy oci: dir:` and a flip of a link',
      samples: samples.script,
      without: 'copies all layers',
    };
    const rows = (['thin', 'full'] as const).map((way) => {
      const ours = { name: 'dropdock', samples: samples[way] };
      return {
        title: `one layer of ${LAYERS} changed, ${way} drop`,
        unit: 's' as const,
        ours,
        peers: [registry, script],
        goals: [faster(5, ours, registry), faster(5, ours, script)],
        ...(way === 'full' && { spent: `thin and full: ${world.spent}` }),
      };
    });
    return {
      rows,
      notes: [
        'Thin: the drop holds the new layer, the config and the manifest. Full: it holds all layers. ' +
          'Warm page cache. All sides already have the first image, and none has the new layer.',
      ],
    };
  },
};

type Way = 'thin' | 'full';

/** The first image, published on all sides, and a new layer for each round. */
class World {
  #times = 0;

  private constructor(
    readonly context: Context,
    readonly base: readonly Layer[],
    readonly fresh: readonly Layer[],
    readonly daemon: Daemon,
    readonly registry: DockerRegistry,
  ) {}

  static async make(context: Context): Promise<World> {
    const { directory, quick, rounds } = context;
    const bytes = (quick ? 4 : 50) * 1024 ** 2;
    const base = await makeLayers(directory, { count: LAYERS, bytes });
    // The number of layers distinguishes them from those of the first image.
    const fresh = await makeLayers(directory, { count: 2 * (rounds + 1), bytes });
    const daemon = await Daemon.start(context, join(directory, 'changed'));
    const registry = await DockerRegistry.start(join(directory, 'changed-registry'));
    const world = new World(context, base, fresh, daemon, registry);
    const first = image(base, 'first');
    const layout = world.#layout('changed-first', first);
    await registry.push(`oci:${layout}:1.0`, 'app:1.0');
    rmSync(layout, { recursive: true });
    for (const way of ['thin', 'full'] as const) {
      await still();
      await world.#publish(way, first, world.#layout(`changed-${way}`, first));
    }
    return world;
  }

  get spent(): string {
    return spentText(this.daemon.spent, this.#times);
  }

  #layout(name: string, of: Image, leave: (layer: Layer) => boolean = () => false): string {
    const layout = join(this.context.directory, name);
    writeLayout(layout, [{ image: of, tag: '1.0' }], { layers: 'linked', leave });
    return layout;
  }

  #next(way: Way, round: number): Image {
    const fresh = this.fresh[2 * round + (way === 'thin' ? 0 : 1)];
    if (!fresh) throw new Error('no layer left');
    return image([...this.base.slice(0, -1), fresh], `${way} ${round}`);
  }

  async byRegistry(round: number): Promise<number> {
    const layout = this.#layout('changed-layout', this.#next('full', round));
    const begin = performance.now();
    await this.registry.push(`oci:${layout}:1.0`, 'app:1.0');
    const took = seconds(begin);
    rmSync(layout, { recursive: true });
    return took;
  }

  async byScript(round: number): Promise<number> {
    const layout = this.#layout('changed-layout', this.#next('full', round));
    const published = join(this.context.directory, 'changed-script');
    const begin = performance.now();
    await copyAndFlip(`oci:${layout}:1.0`, published, `round-${round}`);
    const took = seconds(begin);
    rmSync(published, { recursive: true });
    rmSync(layout, { recursive: true });
    await command('sync', '-f', this.context.directory);
    return took;
  }

  async byDropdock(way: Way, round: number): Promise<number> {
    const next = this.#next(way, round);
    const fresh = next.layers.at(-1);
    const base = this.#layout(`changed-${way}`, next, (layer) => way === 'thin' && layer !== fresh);
    // Copies the file, because a second hard link would prevent linking it.
    const file = join(base, 'blobs', 'sha256', fresh?.digest.slice(7) ?? '');
    await shell('cp "$1" "$1.own"; mv "$1.own" "$1"; sync -f "$1"', file);
    await still();
    return this.#publish(way, next, base);
  }

  async #publish(way: Way, dropped: Image, drop: string): Promise<number> {
    const { daemon } = this;
    const before = daemon.web.target(way);
    const took = await daemon.measured(async () => {
      const begin = performance.now();
      renameSync(drop, join(daemon.inbox, `${way}:1.0`));
      return ((await daemon.web.moved(way, before)) - begin) / 1000;
    });
    this.#times++;
    await daemon.idle();
    await daemon.check(way, '1.0', dropped.manifest.digest);
    return took;
  }

  async end(): Promise<void> {
    await Promise.all([this.daemon.stop(), this.registry.stop()]);
    for (const name of ['changed', 'changed-registry']) {
      rmSync(join(this.context.directory, name), { recursive: true });
    }
  }
}
