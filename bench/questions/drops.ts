/** Many small drops at once. */
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../command.js';
import { Daemon, spentText, still } from '../daemon.js';
import { Script } from '../peers/script.js';
import { type Answer, ahead, type Context, interleave, type Question } from '../question.js';
import { setAside } from '../set-aside.js';
import { type SmallDrop, smallDrops } from '../small-drops.js';

const REPOSITORIES = 100;

export const drops: Question = {
  name: 'drops',
  asks: '2,000 small drops over 100 repositories, each with its own tag, moved into the inbox at once.',
  rounds: 3,
  run: async (context): Promise<Answer> => {
    const count = context.quick ? 500 : 2000;
    const spent = { userS: 0, systemS: 0 };
    const samples = await interleave(
      context,
      {
        script: () => byScript(context, count / 4, 'no'),
        synced: () => byScript(context, count / 4, 'sync'),
        ours: () => byDropdock(context, count, spent),
      },
      { warm: false },
    );
    const ours = { name: 'dropdock', samples: samples.ours };
    const script = {
      name: 'inotifywait and a shell script',
      samples: samples.script,
      without: 'syncs nothing, merges nothing: of several drops for a repository the last is left',
    };
    const synced = {
      name: 'the same with `sync`',
      samples: samples.synced,
      without: 'merges nothing',
    };
    const goals = [ahead(10, ours, script), ahead(10, ours, synced)];
    return {
      rows: [
        {
          title: 'small drops',
          unit: 'per s',
          ours,
          peers: [script, synced],
          goals,
          spent: spentText(spent, context.rounds * count),
        },
      ],
      notes: [
        'Measured from the first rename until all are visible: every tag is in `tags/list`. The script ' +
          'handles one drop after the other, so it gets only a quarter of them; its rate is the same.',
      ],
    };
  },
};

async function made({ directory }: Context, count: number): Promise<SmallDrop[]> {
  const given = { count, repositories: REPOSITORIES, tagOf: (turn: number) => `t${turn}` };
  const all = smallDrops(join(directory, 'small'), given);
  await command('sync', '-f', directory);
  await still();
  return all;
}

function dropAll(all: readonly SmallDrop[], inbox: string): void {
  for (const { path, repository, tag } of all)
    renameSync(path, join(inbox, `${repository}:${tag}`));
}

async function byDropdock(
  context: Context,
  count: number,
  spent: { userS: number; systemS: number },
): Promise<number> {
  const all = await made(context, count);
  const root = join(context.directory, 'drops');
  const daemon = await Daemon.start(context, root);
  await daemon.warm();
  const missing = new Map(all.map((drop) => [drop.repository, count / REPOSITORIES]));
  const isDone = () => {
    for (const [repository, tags] of missing) {
      if (tagsOf(daemon.published, repository) === tags) missing.delete(repository);
      // Only one missing tag needs to be known.
      else return false;
    }
    return true;
  };
  const took = await daemon.measured(async () => {
    const begin = performance.now();
    dropAll(all, daemon.inbox);
    return ((await daemon.web.when('all tags', isDone)) - begin) / 1000;
  });
  spent.userS += daemon.spent.userS;
  spent.systemS += daemon.spent.systemS;
  for (const { repository, tag, image } of all.slice(0, REPOSITORIES)) {
    await daemon.check(repository, tag, image.manifest.digest);
  }
  await daemon.idle();
  await daemon.stop();
  for (const done of [root, join(context.directory, 'small')]) setAside(context.directory, done);
  return count / took;
}

function tagsOf(published: string, id: string): number {
  try {
    return JSON.parse(readFileSync(join(published, 'web', id, 'tags', 'list'), 'utf8')).tags.length;
  } catch {
    return 0;
  }
}

async function byScript(context: Context, count: number, durable: 'sync' | 'no'): Promise<number> {
  const all = await made(context, count);
  const place = join(context.directory, 'drops-script');
  const script = await Script.start(place, durable);
  const begin = performance.now();
  dropAll(all, script.inbox);
  // The script handles drops in order: when the last one is visible, all are.
  const last = (count / REPOSITORIES - 1) * REPOSITORIES + REPOSITORIES - 1;
  const ends = `-${String(last).padStart(6, '0')}`;
  const id = `repo-${String(last % REPOSITORIES).padStart(4, '0')}`;
  const isDone = () => script.web.target(id)?.endsWith(ends) === true;
  const took = ((await script.web.when('the last drop', isDone)) - begin) / 1000;
  await script.stop();
  for (const done of [place, join(context.directory, 'small')]) setAside(context.directory, done);
  return count / took;
}
