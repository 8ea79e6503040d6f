/** 5,000 repositories without activity: resource usage, and the time of a start. */
import {
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { end, start } from '../children.js';
import { cpuOfS, memoryOf, pause, seconds } from '../command.js';
import { Daemon, still } from '../daemon.js';
import { type Answer, below, type Context, type Question } from '../question.js';
import { smallDrops } from '../small-drops.js';

/** All names have the same length, so that lengths within JSON do not change. */
const nameOf = (at: number) => `repo-${String(at).padStart(4, '0')}`;

const STARTS = 5;

export const rest: Question = {
  name: 'rest',
  asks: '5,000 repositories, without any activity: processor time, memory, and time from start to ready.',
  rounds: 1,
  run: async (context): Promise<Answer> => {
    const count = context.quick ? 500 : 5000;
    const restS = context.quick ? 10 : 35;
    const root = join(context.directory, 'rest');
    const digest = await makeTree(context, root, count);
    const starts: number[] = [];
    const begin = async () => {
      rmSync(join(root, 'log'));
      const at = performance.now();
      const daemon = await Daemon.start(context, root);
      starts.push(seconds(at));
      return daemon;
    };
    for (let at = 1; at < STARTS; at++) await (await begin()).stop();
    const daemon = await begin();
    for (const at of [0, count - 1]) await daemon.check(nameOf(at), 't0', digest);
    const bare = start(process.execPath, ['-e', 'setInterval(() => {}, 1e9)'], { stdio: 'ignore' });
    // The work after a start is finished by then: its threads end after 30 s.
    await pause(context.quick ? 2000 : 45_000);
    const pids = [daemon.pid, bare.pid ?? 0];
    const before = pids.map(cpuOfS);
    await daemon.measured(() => pause(restS * 1000));
    const [ours = 0, theirs = 0] = pids.map((pid, at) => {
      return (100 * (cpuOfS(pid) - (before[at] ?? 0))) / restS;
    });
    const memory = pids.map(memoryOf);
    await Promise.all([daemon.stop(), end(bare)]);
    rmSync(root, { recursive: true });
    return answer({ starts, cpu: [ours, theirs], memory, count, restS });
  },
};

interface Found {
  readonly starts: readonly number[];
  readonly cpu: readonly [number, number];
  readonly memory: readonly { nowMiB: number; mostMiB: number }[];
  readonly count: number;
  readonly restS: number;
}

function answer({ starts, cpu, memory, count, restS }: Found): Answer {
  const name = 'a bare Node process (`setInterval`)';
  const [ours, bare] = memory;
  const more = (ours?.nowMiB ?? Number.NaN) - (bare?.nowMiB ?? 0);
  const of = count.toLocaleString('en-US');
  const dropdock = (samples: readonly number[]) => ({ name: 'dropdock', samples });
  return {
    rows: [
      {
        title: `${of} repositories at rest: processor, of one core`,
        unit: '%',
        ours: dropdock([cpu[0]]),
        peers: [{ name, samples: [cpu[1]] }],
        goals: [below(0.1, '%', cpu[0])],
        spent: `over ${restS} s, including full scans of the inbox`,
      },
      {
        title: 'the same: resident memory',
        unit: 'MiB',
        ours: dropdock([ours?.nowMiB ?? Number.NaN]),
        peers: [{ name, samples: [bare?.nowMiB ?? Number.NaN] }],
        goals: [
          {
            text: 'at most 40 MB more',
            value: `${Math.round(more)} MiB more`,
            reached: more <= 40,
          },
        ],
        spent: `at most ${Math.round(ours?.mostMiB ?? 0)} MiB, while it started`,
      },
      {
        title: `from the start of the process until it is ready, ${of} repositories`,
        unit: 's',
        ours: dropdock(starts),
        peers: [],
        goals: [below(2, 's', Math.max(...starts))],
      },
    ],
    notes: [
      'The tree is one published repository and copies of it under other names, made by the benchmark; the first and the last one are checked by a pull.',
    ],
  };
}

/** @returns the digest of the image that all repositories contain */
async function makeTree(context: Context, root: string, count: number): Promise<string> {
  const daemon = await Daemon.start(context, root);
  const given = { count: 1, repositories: 1, tagOf: (turn: number) => `t${turn}` };
  const [drop] = smallDrops(join(context.directory, 'rest-drops'), given);
  if (!drop) throw new Error('no drop');
  await still();
  renameSync(drop.path, join(daemon.inbox, nameOf(0)));
  await daemon.web.moved(nameOf(0), undefined);
  await daemon.idle();
  await daemon.stop();
  for (let at = 1; at < count; at++) copyRepository(root, nameOf(at));
  return drop.image.manifest.digest;
}

function copyRepository(root: string, name: string): void {
  const published = join(root, 'published');
  const first = nameOf(0);
  const snapshot = basename(readlinkSync(join(published, 'web', first)));
  copyTree(
    join(published, 'master', first, snapshot),
    join(published, 'master', name, snapshot),
    name,
  );
  symlinkSync(`../web/${name}/${name}.json`, join(published, 'app', `${name}.json`));
  symlinkSync(`../master/${name}/${snapshot}`, join(published, 'web', name));
  for (const [directory, end] of [
    ['history', '.jsonl'],
    ['locks', '.lock'],
  ] as const) {
    const place = join(root, 'state', directory);
    cpSync(join(place, first + end), join(place, name + end));
  }
}

/** Links files named by a digest, as dropdock does, and rewrites files that contain the repository's name. */
function copyTree(from: string, to: string, name: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [
      join(from, entry.name),
      join(to, entry.name.replace(nameOf(0), name)),
    ];
    if (entry.isDirectory()) copyTree(source, target, name);
    else if (entry.name.endsWith('.json') || entry.name === 'list') {
      writeFileSync(target, readFileSync(source, 'utf8').replaceAll(nameOf(0), name));
    } else linkSync(source, target);
  }
}
