import { expect } from 'chai';
import { isTimestamp, nextTimestamp, timestampMs, toTimestamp } from '#src/repository/timestamp.js';

const NOW = Date.UTC(2026, 10, 23, 15, 26, 34, 123);

describe('timestamps', () => {
  it('are UTC with milliseconds, and round-trip', () => {
    expect(toTimestamp(NOW)).to.equal('20261123T152634.123Z');
    expect(timestampMs(toTimestamp(NOW))).to.equal(NOW);
  });

  it('sort as text in time order', () => {
    const times = [0, 1, 999, 1000, NOW, NOW + 1, NOW + 86_400_000];
    const names = times.map(toTimestamp);
    expect([...names].reverse().sort()).to.deep.equal(names);
  });

  for (const text of [
    '',
    '20261123T152634Z',
    '20261123T152634.123',
    'x20261123T152634.123Z',
    '.tmp',
  ]) {
    it(`are not parsed from "${text}"`, () => {
      expect(isTimestamp(text)).to.equal(false);
    });
  }

  const cases: readonly [string, string[], string][] = [
    ['now', [], '20261123T152634.123Z'],
    ['now when older ones are there', ['20251123T152634.123Z'], '20261123T152634.123Z'],
    ['the next ms within one millisecond', ['20261123T152634.123Z'], '20261123T152634.124Z'],
    [
      'after the greatest when the clock has stepped back',
      ['20270101T000000.000Z', '20261231T235959.999Z'],
      '20270101T000000.001Z',
    ],
    ['now among unknown entries', ['zzz', '99999999', '.tmp'], '20261123T152634.123Z'],
  ];
  for (const [what, taken, next] of cases) {
    it(`increment to ${what}`, () => {
      expect(nextTimestamp(NOW, taken)).to.equal(next);
    });
  }
});
