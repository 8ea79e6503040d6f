import { expect } from 'chai';
import { formatAge, formatBytes, formatSeconds, formatTime } from '#src/units.js';

const DAY_MS = 86_400_000;

describe('sizes and times as text', () => {
  const cases: readonly [(value: number) => string, number, string][] = [
    [formatBytes, 0, '0 B'],
    [formatBytes, 1023, '1023 B'],
    [formatBytes, 1024, '1 KiB'],
    [formatBytes, 15_000, '14.6 KiB'],
    [formatBytes, 1.5 * 1024 ** 3, '1.5 GiB'],
    [formatTime, 0, '0ms'],
    [formatTime, 350.4, '350ms'],
    [formatTime, 2500, '2.5s'],
    [formatTime, 95_000, '1m 35s'],
    [formatAge, -5000, '1s'],
    [formatAge, 12_999, '12s'],
    [formatAge, 3_599_999, '59m'],
    [formatAge, 3_600_000, '1h'],
    [formatAge, 3 * DAY_MS, '3d'],
    [formatAge, 400 * DAY_MS, '1y'],
    [formatSeconds, 23, '0.023s'],
    [formatSeconds, 95_000, '95.000s'],
  ];
  for (const [format, value, text] of cases) {
    it(`${format.name}(${value}) is ${text}`, () => {
      expect(format(value)).to.equal(text);
    });
  }
});
