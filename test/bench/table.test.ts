/** The formatting of benchmark results. */

import { expect } from 'chai';
import { plot, ticks } from '#bench/plot.js';
import { ahead, atMost, faster, interleave } from '#bench/question.js';
import { benchmarksPage, summaryTable } from '#bench/table.js';

const ours = { name: 'dropdock', samples: [2, 1, 3] };
const peer = { name: 'a | script', samples: [4, 4, 4], without: 'syncs nothing' };

const section = {
  name: 'bulk',
  asks: 'How long?',
  rounds: 3,
  measured: 'Measured today.',
  rows: [
    { title: 'bulk', unit: 's' as const, ours, peers: [peer], goals: [faster(3, ours, peer)] },
  ],
};

describe('benchmark reports', () => {
  it('compares medians, each in its own direction', () => {
    expect(atMost(0.5, ours, peer).reached).to.equal(true);
    expect(atMost(0.4, ours, peer).reached).to.equal(false);
    expect(faster(2, ours, peer)).to.include({ reached: true, value: '2.00 ×' });
    expect(ahead(0.6, ours, peer)).to.include({ reached: false, value: '0.500 ×' });
  });

  it('marks missed goals, and keeps tables well-formed', () => {
    expect(summaryTable([section])).to.contain(
      '| bulk | bulk | at least 3 times faster than a \\| script | 2.00 ×, **not yet** |',
    );
    const page = benchmarksPage([section], 'two cores.');
    expect(page).to.contain('| bulk | **dropdock** | 2.00 (1.00–3.00) s |  |');
    expect(page).to.contain('| | a \\| script | 4.00 (4.00–4.00) s | syncs nothing |');
    expect(page).to.contain('The machine: two cores.');
  });

  it('alternates the candidates, and does not count the first run', async () => {
    const turns: string[] = [];
    const side = (name: string) => async (round: number) => {
      turns.push(name);
      return round;
    };
    const context = {
      directory: '',
      main: '',
      quick: true,
      rounds: 2,
      profile: undefined,
      say: () => {},
      counted: () => {},
      sampled: () => {},
    };
    const samples = await interleave(context, { peer: side('peer'), ours: side('ours') });
    expect(samples).to.deep.equal({ peer: [1, 2], ours: [1, 2] });
    expect(turns.join()).to.equal('peer,ours,peer,ours,peer,ours');
  });

  it('draws within its axes, which end at round numbers', () => {
    expect(ticks(0.23)).to.deep.equal([0, 0.05, 0.1, 0.15, 0.2, 0.25]);
    expect(ticks(50_000)).to.deep.equal([0, 10_000, 20_000, 30_000, 40_000, 50_000]);
    const svg = plot(
      [
        {
          name: 'a < b',
          points: [
            [0, 0],
            [50_000, 0.23],
          ],
        },
      ],
      {
        title: 'one',
        x: 'x',
        y: 'y',
      },
    );
    expect(svg).to.contain('a &lt; b').and.contain('50,000');
    const heights = [...svg.matchAll(/circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
      Number(x),
      Number(y),
    ]);
    expect(heights).to.deep.equal([
      [70, 350],
      [680, 64.8],
    ]);
  });
});
