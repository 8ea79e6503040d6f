import { expect } from 'chai';
import { historyRow } from '#src/cli/history.js';
import type { HistoryEntry } from '#src/publisher/target.js';
import { toTimestamp } from '#src/repository/timestamp.js';

const at = toTimestamp(0);
const entry: HistoryEntry = {
  ...{ at, snapshot: at, why: 'publish', drops: [], kept: true, current: true },
};
const drops = ['a', 'b', 'c', 'd'].map((drop) => ({ drop, at }));

describe('a row of the history', () => {
  it('shows the first tags and drops, and how many more there are', () => {
    const tags = {
      added: { names: ['1', '2', '3', '4', '5'], count: 12 },
      moved: { names: ['latest'], count: 1 },
    };
    const row = historyRow({ ...entry, drops, by: ['ann', 'bob'], tags });
    expect(row.slice(3)).to.deep.equal([
      'publish',
      'ann,bob',
      'a, b, c and 1 more',
      'added 1, 2, 3, 4, 5 and 7 more; moved latest',
    ]);
  });

  it('shows records of earlier versions, which have neither users nor tags', () => {
    expect(historyRow({ ...entry, drops: drops.slice(0, 1) }).slice(3)).to.deep.equal([
      'publish',
      '-',
      'a',
      '-',
    ]);
    const untag = { ...entry, why: 'untag', detail: '1 2', current: false } as const;
    expect(historyRow(untag).slice(2)).to.deep.equal(['kept', 'untag', '-', '-', 'removed 1 2']);
  });
});
