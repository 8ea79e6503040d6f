/** The cost of removing stale snapshots, and its effect on pulls and publishes. */
import { CleaningWorld, none, type Watched } from '../cleaning-world.js';
import { command, pause, seconds } from '../command.js';
import { type Answer, atMost, type Context, type Question, type Row } from '../question.js';
import { figure, percentile } from '../statistics.js';

const NOTE =
  'Measured from the flip that makes them stale until the last file is removed. The snapshots are ' +
  'copies of one snapshot, by hard links, like snapshots of one repository. On both sides a client ' +
  'pulls a manifest of that repository every 20 ms, and another one publishes a small image to ' +
  'another repository every 150 ms.';

export const cleaning: Question = {
  name: 'cleaning',
  asks: '50 stale snapshots of a repository of 10,000 tags are removed, while a client pulls and another one publishes.',
  rounds: 1,
  run: async (context): Promise<Answer> => {
    const snapshots = context.quick ? 10 : 50;
    const world = await CleaningWorld.make(context, context.quick ? 1000 : 10_000);
    const calm = await world.watched(() => pause(3000));
    const found = await removed(context, world, snapshots);
    await world.end();
    const title = `${snapshots} snapshots removed, ${world.entries.toLocaleString('en-US')} entries each`;
    return { rows: rows(title, { ...found, calm }), notes: [NOTE] };
  },
};

interface Side {
  readonly tookS: number[];
  readonly meanwhile: Watched;
}

async function removed(
  context: Context,
  world: CleaningWorld,
  snapshots: number,
): Promise<{ ours: Side; rm: Side }> {
  const [rm, ours]: [Side, Side] = [
    { tookS: [], meanwhile: none() },
    { tookS: [], meanwhile: none() },
  ];
  for (let round = 1; round <= context.rounds; round++) {
    const other = await world.copies(snapshots, 'rm');
    await watch(world, rm, async () => {
      const begin = performance.now();
      await command('rm', '-rf', other);
      return seconds(begin);
    });
    await world.copies(snapshots, 'master');
    await watch(world, ours, () => world.daemon.measured(() => world.clean(round)));
    const [a, b] = [rm, ours].map(({ tookS }) => figure(tookS.at(-1) ?? Number.NaN));
    context.say(`round ${round}: rm ${a}, ours ${b}`);
  }
  return { ours, rm };
}

async function watch(
  world: CleaningWorld,
  { tookS, meanwhile }: Side,
  run: () => Promise<number>,
): Promise<void> {
  const seen = await world.watched(async () => void tookS.push(await run()));
  meanwhile.pullsMs.push(...seen.pullsMs);
  meanwhile.dropsMs.push(...seen.dropsMs);
  meanwhile.failed += seen.failed;
}

function rows(title: string, { ours, rm, calm }: { ours: Side; rm: Side; calm: Watched }): Row[] {
  const measured = { name: 'dropdock', samples: ours.tookS };
  const peer = { name: '`rm -rf`', samples: rm.tookS };
  const meanwhile = (what: string, of: (watched: Watched) => number[], part: number): Row => ({
    title: what,
    unit: 'ms',
    ours: { name: 'while dropdock cleans', samples: [percentile(of(ours.meanwhile), part)] },
    peers: [
      { name: 'while `rm -rf` runs', samples: [percentile(of(rm.meanwhile), part)] },
      { name: 'before', samples: [percentile(of(calm), part)] },
    ],
    goals: [],
  });
  const { failed, pullsMs } = ours.meanwhile;
  const goal = { text: 'no pull fails', value: `${failed} of ${pullsMs.length} failed` };
  return [
    { title, unit: 's', ours: measured, peers: [peer], goals: [atMost(1.5, measured, peer)] },
    {
      ...meanwhile('pulls meanwhile, p99', (watched) => watched.pullsMs, 0.99),
      goals: [{ ...goal, reached: failed === 0 }],
    },
    meanwhile('publishes meanwhile, median', (watched) => watched.dropsMs, 0.5),
    meanwhile('publishes meanwhile, p99', (watched) => watched.dropsMs, 0.99),
  ];
}
