/** The cost of one more tag in a repository with many tags. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../command.js';
import { Daemon, spentText, still } from '../daemon.js';
import { image, writeLayout } from '../layout.js';
import { plot } from '../plot.js';
import { type Answer, below, type Context, type Question, type Row } from '../question.js';
import { smallImage } from '../small-drops.js';
import { figure, line, median } from '../statistics.js';

const REPOSITORY = 'mirror';
/** For smaller repositories (four files per tag) no spare tree is made. */
const SPARED_MIN = 1000;

export const tags: Question = {
  name: 'tags',
  asks: 'A repository of 1,000, 10,000 and 50,000 tags, each on its own image: publish one more tag.',
  rounds: 5,
  run: async (context): Promise<Answer> => {
    const sizes = context.quick ? [100, 1000, 5000] : [1000, 10_000, 50_000];
    const rows: Row[] = [];
    const points: [number, number][] = [];
    const after: [number, number][] = [];
    for (const size of sizes) {
      const { samples, rested, spent, filled } = await publishOneMore(context, size);
      context.say(
        `${size} tags: one more ${figure(median(rested))} s, one after the other ${figure(median(samples))} s; all of them ${figure(filled)} s`,
      );
      points.push([size, median(rested)]);
      after.push([size, median(samples)]);
      const title = `one more beside ${size.toLocaleString('en-US')} tags`;
      rows.push(
        {
          title,
          unit: 's',
          ours: { name: 'dropdock', samples: rested },
          peers: [],
          goals: size === 10_000 ? [below(0.3, 's', median(rested))] : [],
          spent: `a spare tree was made since the last; the first drop, of all of them: ${figure(filled)} s`,
        },
        {
          title: `${title}, at once after the last`,
          unit: 's',
          ours: { name: 'dropdock', samples },
          peers: [],
          goals: [],
          spent,
        },
      );
    }
    return { rows, plots: [drawn(points, after)], notes: [sentence(points)] };
  },
};

async function publishOneMore(
  context: Context,
  size: number,
): Promise<{ samples: number[]; rested: number[]; spent: string; filled: number }> {
  const root = join(context.directory, 'tags');
  const drop = join(context.directory, 'tags-drop');
  const all = Array.from({ length: size }, (_none, at) => ({
    image: image([], `mirror-${at}`),
    tag: `v${String(at).padStart(6, '0')}`,
  }));
  writeLayout(drop, all, { layers: 'absent' });
  const more = Array.from({ length: 2 * context.rounds + 1 }, (_none, at) => ({
    image: smallImage(`more-${at}`, context.directory),
    tag: `more-${at}`,
    path: join(context.directory, `tags-more-${at}`),
  }));
  for (const one of more) writeLayout(one.path, [one], { layers: 'moved' });
  await command('sync', '-f', drop);
  const daemon = await Daemon.start(context, root);
  await still();
  const samples: number[] = [];
  const drop1 = async (path: string) => {
    const before = daemon.web.target(REPOSITORY);
    const begin = performance.now();
    renameSync(path, join(daemon.inbox, REPOSITORY));
    const took = ((await daemon.web.moved(REPOSITORY, before)) - begin) / 1000;
    await daemon.idle();
    return took;
  };
  // Profiled too, but it is not part of the cost of one more tag.
  const filled = await (context.profile ? daemon.measured(() => drop1(drop)) : drop1(drop));
  // The first one has cold caches, and many pages are not yet written out.
  const [first, ...others] = more;
  if (first) await drop1(first.path);
  await command('sync', '-f', root);
  const rested: number[] = [];
  for (const { path } of others.slice(context.rounds)) {
    if (size >= SPARED_MIN) await daemon.hasSpareTree(REPOSITORY);
    rested.push(await drop1(path));
  }
  await daemon.measured(async () => {
    for (const { path } of others.slice(0, context.rounds)) samples.push(await drop1(path));
  });
  for (const each of [all[0], all.at(-1), others.at(-1)]) {
    if (each) await daemon.check(REPOSITORY, each.tag, each.image.manifest.digest);
  }
  await daemon.stop();
  rmSync(root, { recursive: true });
  return { samples, rested, filled, spent: spentText(daemon.spent, samples.length) };
}

function drawn(
  points: readonly (readonly [number, number])[],
  after: readonly (readonly [number, number])[],
) {
  const { slope, intercept } = line(points);
  const most = Math.max(...points.map(([size]) => size));
  const axes = {
    title: 'One more tag in a repository of many',
    x: 'tags that are there already',
    y: 'seconds until it is visible',
  };
  const fitted = {
    name: `a straight line: ${figure(slope * 1e6)} µs for each tag`,
    points: [
      [0, Math.max(intercept, 0)],
      [most, intercept + slope * most],
    ] as const,
    dashed: true,
  };
  const atOnce = { name: 'at once after the last', points: after };
  const svg = plot([{ name: 'dropdock', points }, atOnce, fitted], axes);
  return { file: 'bench-tags.svg', alt: axes.title, svg };
}

function sentence(points: readonly (readonly [number, number])[]): string {
  const { slope, intercept, fit } = line(points);
  return (
    `Each existing tag adds ${figure(slope * 1e6)} µs (a straight line through ` +
    `${figure(intercept * 1000)} ms explains ${figure(fit * 100)} % of it): a snapshot is a complete ` +
    'directory, so it has an entry for each tag and each digest of the repository, in the original form ' +
    'and in the form for Crane, and one line each in `.snapshot.json` and the redirect file.'
  );
}
