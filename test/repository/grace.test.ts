import { expect } from 'chai';
import type { Sighting } from '#src/repository/elapsed.js';
import {
  expiredUpTo,
  flipAges,
  flipKey,
  type SeenFlip,
  worthNoting,
} from '#src/repository/grace.js';
import { timestampMs, toTimestamp } from '#src/repository/timestamp.js';

const GRACE = 1600;
const at = (id: string, ms: number) => ({ id, ms });
const name = (n: number) => toTimestamp(Date.UTC(2026, 10, 23) + n);
const flip = (n: number, clock?: SeenFlip['clock']): SeenFlip => ({
  at: name(n),
  snapshot: name(n),
  ...(clock && { clock }),
});

describe('the age of flips', () => {
  it('is measured by the clock that saw them, and by later records', () => {
    const flips = [flip(1, at('a', 100)), flip(2, at('b', 5)), flip(3, at('a', 300)), flip(4)];
    expect(flipAges(flips, [], at('a', 1000))).to.deep.equal([900, 700, 700, 0]);
    expect(flipAges(flips, [], at('b', 1005))).to.deep.equal([1000, 1000, 0, 0]);
    expect(flipAges(flips, [], at('c', 1e9))).to.deep.equal([0, 0, 0, 0]);
  });

  it('gives the newest flip that is past the grace period', () => {
    const flips = [flip(1), flip(2), flip(3)];
    const ms = (n: number) => timestampMs(name(n));
    expect(expiredUpTo(flips, [5000, GRACE, GRACE - 1], GRACE)).to.equal(ms(2));
    expect(expiredUpTo(flips, [GRACE - 1, 0, 0], GRACE)).to.equal(Number.NEGATIVE_INFINITY);
    expect(expiredUpTo([], [], GRACE)).to.equal(Number.NEGATIVE_INFINITY);
    expect(expiredUpTo(flips, [0, 0, 0], 0)).to.equal(Number.POSITIVE_INFINITY);
  });

  describe('is recorded', () => {
    const note = (
      flips: SeenFlip[],
      sightings: Sighting[],
      now: { id: string; ms: number },
      waiting = flips.map((_flip, place) => place),
      unfinished: ReturnType<typeof name>[] = [],
    ) => worthNoting({ flips, sightings }, { waiting, unfinished }, { now, graceMs: GRACE });

    it('at once when another clock saw it, then after each eighth of the grace period', () => {
      const flips = [flip(1, at('a', 0))];
      const first = note(flips, [], at('b', 50));
      expect(first).to.deep.equal({ clock: at('b', 50), ages: { [flipKey(flip(1))]: 0 } });
      const seen = [first as Sighting];
      expect(note(flips, seen, at('b', 249))).to.equal(undefined);
      const next = note(flips, seen, at('b', 250));
      expect(Object.values(next?.ages ?? {})).to.deep.equal([200]);
      expect(note(flips, seen, at('a', 199))).to.equal(undefined);
    });

    it('not when nothing waits for it, nor when the grace period is over', () => {
      const flips = [flip(1, at('a', 0))];
      expect(note(flips, [], at('b', 50), [])).to.equal(undefined);
      const over = { clock: at('b', 1), ages: { [flipKey(flip(1))]: GRACE } };
      expect(note(flips, [over], at('c', 50))).to.equal(undefined);
      // Beyond the end of the history: that flip is unknown.
      expect(note(flips, [], at('b', 50), [1])).to.equal(undefined);
    });

    it('in steps, up to the newest flip past the grace period', () => {
      const flips = Array.from({ length: 100 }, (_, n) => flip(n, at('a', 50 * n)));
      const { ages = {} } = note(flips, [], at('a', 5000)) ?? {};
      const noted = Object.values(ages).sort((a, b) => a - b);
      expect(noted[0]).to.equal(50);
      expect(noted.at(-1)).to.be.at.least(GRACE);
      expect(noted.filter((age) => age >= GRACE)).to.have.length(1);
      expect(noted.length).to.be.at.most(18);
    });

    it('for snapshots that were never current, once for each clock', () => {
      const first = note([], [], at('a', 7), [], [name(5)]);
      expect(first?.ages).to.deep.equal({ [`unfinished/${name(5)}`]: 0 });
      expect(note([], [first as Sighting], at('a', 500), [], [name(5)])).to.equal(undefined);
      expect(note([], [first as Sighting], at('b', 1), [], [name(5)])).not.to.equal(undefined);
    });
  });
});
