/** `docker save` archives: compares dropdock with reading, unpacking and hashing them once. */
import { linkSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Archive, makeArchive } from '../archives.js';
import { command, seconds, shell } from '../command.js';
import { Daemon, spentText } from '../daemon.js';
import {
  type Answer,
  atMost,
  type Context,
  interleave,
  type Question,
  type Row,
} from '../question.js';

interface Way {
  readonly title: string;
  readonly gzip: boolean;
  /** $1 is the archive, $2 a directory. The commands run in parallel; the last one to end counts. */
  readonly commands: readonly string[];
  readonly peer: string;
}

const WAYS: readonly Way[] = [
  {
    title: 'plain',
    gzip: false,
    commands: ['tar -xf "$1" -C "$2"; sync -f "$2"', 'sha256sum "$1"'],
    peer: '`tar x` (and `sync -f`) beside `sha256sum`',
  },
  {
    title: 'gzip',
    gzip: true,
    commands: ['zcat "$1" | tee >(sha256sum >"$2.sum") | tar -x -C "$2"; sync -f "$2"'],
    peer: '`zcat | tee >(sha256sum) | tar x` (and `sync -f`)',
  },
];

export const archive: Question = {
  name: 'archive',
  asks: 'A `docker save` archive of 2 GiB, plain and as gzip, moved into the inbox.',
  rounds: 2,
  run: async (context): Promise<Answer> => {
    const bytes = (context.quick ? 256 : 2048) * 1024 ** 2;
    const rows: Row[] = [];
    for (const way of WAYS) {
      const path = join(context.directory, `saved-${way.title}`);
      const made = await makeArchive(path, { bytes, gzip: way.gzip });
      rows.push(await measure(context, way, made));
      rmSync(path);
    }
    return {
      rows,
      notes: [
        'Warm page cache. The archive has other names, so its layers cannot be linked: both sides write them once more and ' +
          'sync them. The layers are text that compresses about threefold.',
      ],
    };
  },
};

async function measure(context: Context, way: Way, made: Archive): Promise<Row> {
  const spent = { userS: 0, systemS: 0 };
  const sides = {
    peer: () => beside(context, way, made),
    ours: () => byDropdock(context, made, spent),
  };
  // The archive was just written, so it is in the page cache.
  const samples = await interleave(context, sides, { warm: false });
  const ours = { name: 'dropdock', samples: samples.ours };
  const peer = { name: way.peer, samples: samples.peer, without: 'publishes nothing' };
  return {
    title: `archive, ${way.title}`,
    unit: 's',
    ours,
    peers: [peer],
    goals: [atMost(1.2, ours, peer)],
    spent: spentText(spent, context.rounds),
  };
}

async function beside(context: Context, { commands }: Way, { path }: Archive): Promise<number> {
  const to = join(context.directory, 'untarred');
  mkdirSync(to);
  const begin = performance.now();
  await Promise.all(commands.map((each) => shell(each, path, to)));
  const took = seconds(begin);
  rmSync(to, { recursive: true });
  await command('sync', '-f', context.directory);
  return took;
}

async function byDropdock(
  context: Context,
  { path, image }: Archive,
  spent: { userS: number; systemS: number },
): Promise<number> {
  const root = join(context.directory, 'archive');
  const drop = join(context.directory, 'archive-drop');
  linkSync(path, drop);
  const daemon = await Daemon.start(context, root);
  await daemon.warm();
  const took = await daemon.measured(async () => {
    const begin = performance.now();
    renameSync(drop, join(daemon.inbox, 'app:1.0.tar'));
    return ((await daemon.web.moved('app', undefined)) - begin) / 1000;
  });
  await daemon.idle();
  await daemon.check('app', '1.0', image.manifest.digest);
  spent.userS += daemon.spent.userS;
  spent.systemS += daemon.spent.systemS;
  await daemon.stop();
  rmSync(root, { recursive: true });
  await command('sync', '-f', context.directory);
  return took;
}
