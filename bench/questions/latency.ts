/** Small drops, one at a time: from the rename into the inbox until the image is visible. */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { command, pause, until } from '../command.js';
import { Daemon, spentText, still } from '../daemon.js';
import { namesIn } from '../layers.js';
import { Script } from '../peers/script.js';
import { plot } from '../plot.js';
import { type Answer, below, type Context, faster, type Question } from '../question.js';
import { type SmallDrop, smallDrops } from '../small-drops.js';
import { percentile } from '../statistics.js';
import type { Web } from '../visible.js';

const REPOSITORIES = 100;

/** Pause after each drop, so that no work for the previous one is running. */
const REST_MS = 5;

/** Longer than idle threads are kept. */
const LONG_REST_MS = 6000;

interface Publisher {
  readonly inbox: string;
  readonly web: Web;
}

export const latency: Question = {
  name: 'latency',
  asks: `1,000 small drops (one layer of 1 KiB), one at a time, over ${REPOSITORIES} repositories.`,
  rounds: 1,
  run: async (context): Promise<Answer> => {
    const count = context.quick ? 200 : 1000;
    const made = (name: string) =>
      smallDrops(join(context.directory, name), {
        count,
        repositories: REPOSITORIES,
        tagOf: () => '1.0',
      });
    const drops = { ours: made('ours'), script: made('script'), synced: made('synced') };
    await command('sync', '-f', context.directory);
    await still();
    const daemon = await Daemon.start(context, join(context.directory, 'latency'));
    await daemon.warm();
    const script = await Script.start(join(context.directory, 'latency-script'), 'no');
    const synced = await Script.start(join(context.directory, 'latency-synced'), 'sync');
    const samples = { ours: [] as number[], script: [] as number[], synced: [] as number[] };
    await daemon.measured(async () => {
      for (let at = 0; at < count; at++) {
        samples.script.push(await dropOne(script, drops.script[at]));
        samples.synced.push(await dropOne(synced, drops.synced[at]));
        samples.ours.push(await dropOne(daemon, drops.ours[at]));
      }
    });
    const rested = await afterRest(context, daemon);
    for (const { repository, tag, image } of drops.ours.slice(-REPOSITORIES)) {
      await daemon.check(repository, tag, image.manifest.digest);
    }
    await Promise.all([daemon.stop(), script.stop(), synced.stop()]);
    return answer(samples, rested, spentText(daemon.spent, count));
  },
};

/** Idle threads are ended, so the next drop waits for new ones. */
async function afterRest(context: Context, daemon: Daemon): Promise<number[]> {
  const drops = smallDrops(join(context.directory, 'rested'), {
    count: context.quick ? 2 : 3,
    repositories: REPOSITORIES,
    tagOf: () => '1.0',
  });
  const samples: number[] = [];
  for (const drop of drops) {
    await pause(LONG_REST_MS);
    samples.push(await dropOne(daemon, { ...drop, repository: `rested-${drop.repository}` }));
  }
  return samples;
}

async function dropOne({ inbox, web }: Publisher, drop: SmallDrop | undefined): Promise<number> {
  if (!drop) throw new Error('no drop');
  const { repository, path } = drop;
  const before = web.target(repository);
  const begin = performance.now();
  renameSync(path, join(inbox, `${repository}:1.0`));
  const took = (await web.moved(repository, before)) - begin;
  const isExpired = () =>
    namesIn(inbox).every((name) => name.startsWith('.')) &&
    namesIn(join(inbox, '.claimed')).length === 0;
  await until('the drop to be gone', isExpired, { everyMs: 1 });
  await pause(REST_MS);
  return took;
}

type Samples = Record<'ours' | 'script' | 'synced', number[]>;

function answer(samples: Samples, rested: readonly number[], spent: string): Answer {
  const ours = { name: 'dropdock', samples: samples.ours };
  const plain = {
    name: 'inotifywait and a shell script',
    samples: samples.script,
    without: 'syncs nothing: after a power cut the link leads to empty files. Merges nothing',
  };
  const synced = {
    name: 'the same with `sync` of every file, before and after the flip',
    samples: samples.synced,
    without: 'merges nothing, keeps no history, needs a complete drop',
  };
  const at = (part: number) => (of: { name: string; samples: readonly number[] }) => ({
    ...of,
    samples: [percentile(of.samples, part)],
  });
  const row = (name: string, part: number, unit = 'ms' as const) => ({
    title: `latency, ${name}`,
    unit,
    ours: at(part)(ours),
    peers: [plain, synced].map(at(part)),
  });
  const middle = row('p50', 0.5);
  const [p50] = middle.ours.samples;
  const goals = [
    below(15, 'ms', p50 ?? Number.NaN),
    faster(3, middle.ours, { ...plain, samples: middle.peers[0]?.samples ?? [] }),
    faster(3, middle.ours, {
      name: 'the same with `sync`',
      samples: middle.peers[1]?.samples ?? [],
    }),
  ];
  const lines = [ours, plain, synced].map(({ name, samples: of }) => ({
    name: name.replaceAll('`', ''),
    points: Array.from(
      { length: 100 },
      (_none, part) => [percentile(of, part / 100), part] as const,
    ),
  }));
  const axes = { title: 'From mv to visible', x: 'ms', y: 'drops that were visible by then, %' };
  return {
    rows: [
      { ...middle, goals, spent },
      { ...row('p99', 0.99), goals: [] },
      {
        title: `a drop after ${LONG_REST_MS / 1000} s of rest`,
        unit: 'ms',
        ours: { name: 'dropdock', samples: rested },
        peers: [],
        goals: [],
      },
    ],
    plots: [{ file: 'bench-latency.svg', alt: axes.title, svg: plot(lines, axes) }],
    notes: [
      `Each drop is a rename. On all sides the dropping process watches \`web/<id>\` with inotify. The next drop follows ${REST_MS} ms after all work for the previous one is finished.`,
    ],
  };
}
