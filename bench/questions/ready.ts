/** The time until the same content can be pulled: with dropdock, a registry and a careful script. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { BulkRounds } from '../bulk-rounds.js';
import { command, seconds } from '../command.js';
import { type Layer, makeLayers } from '../layers.js';
import { image, writeLayout } from '../layout.js';
import { DockerRegistry } from '../peers/docker-registry.js';
import { copyAndFlip } from '../peers/skopeo-dir.js';
import { type Answer, type Context, faster, interleave, type Question } from '../question.js';
import { bulkSize } from './bulk.js';

export const ready: Question = {
  name: 'ready',
  asks: 'The same 2 GiB in an OCI layout: time until clients can pull it.',
  rounds: 3,
  run: async (context): Promise<Answer> => {
    const layers = await makeLayers(context.directory, bulkSize(context));
    const bench = new BulkRounds(context, layers, 'moved');
    const samples = await interleave(
      context,
      {
        registry: () => withLayout(context, layers, (from) => byRegistry(context, from)),
        script: () => withLayout(context, layers, (from) => byScript(context, from)),
        ours: () => bench.run(),
      },
      { warm: false },
    );
    const ours = { name: 'dropdock', samples: samples.ours };
    const registry = {
      name: '`skopeo copy oci: docker://` into docker-registry',
      samples: samples.registry,
      without: 'the registry syncs nothing',
    };
    const script = {
      name: '`skopeo copy oci: dir:` and a flip of a link',
      samples: samples.script,
      without: 'skopeo syncs each blob; the directories and the link are not synced',
    };
    const goals = [faster(3, ours, registry), faster(2, ours, script)];
    return {
      rows: [
        {
          title: '2 GiB ready to pull',
          unit: 's',
          ours,
          peers: [registry, script],
          goals,
          spent: bench.spent,
        },
      ],
      notes: ['Warm page cache. dropdock uses the dropped files themselves; the others copy them.'],
    };
  },
};

async function withLayout(
  { directory }: Context,
  layers: readonly Layer[],
  run: (from: string) => Promise<number>,
): Promise<number> {
  const layout = join(directory, 'ready-layout');
  writeLayout(layout, [{ image: image(layers, 'ready'), tag: '1.0' }], { layers: 'linked' });
  const took = await run(`oci:${layout}:1.0`);
  rmSync(layout, { recursive: true });
  await command('sync', '-f', directory);
  return took;
}

async function byRegistry({ directory }: Context, from: string): Promise<number> {
  const place = join(directory, 'ready-registry');
  const registry = await DockerRegistry.start(place);
  const begin = performance.now();
  await registry.push(from, 'app:1.0');
  const took = seconds(begin);
  await registry.stop();
  rmSync(place, { recursive: true });
  return took;
}

async function byScript({ directory }: Context, from: string): Promise<number> {
  const published = join(directory, 'ready-script');
  const begin = performance.now();
  await copyAndFlip(from, published, 'first');
  const took = seconds(begin);
  rmSync(published, { recursive: true });
  return took;
}
