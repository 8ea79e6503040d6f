import { expect } from 'chai';
import { seeAll } from '#src/daemon/see-all.js';
import type { Observation, ScanResult } from '#src/inbox/scan.js';

const found = (count: number): ScanResult => ({
  drops: Array.from({ length: count }, (_none, at) => ({ path: `drop-${at}` }) as Observation),
  ignored: [],
  directories: [''],
});

interface Looked {
  readonly drops: number;
  /** What happens in the inbox during the look. */
  readonly hints: number;
  readonly tookMs?: number;
}

/** @returns how many looks it took, and how many drops the last one saw */
async function see(
  all: readonly Looked[],
  isNew: (drop: Observation) => boolean = () => true,
): Promise<[number, number]> {
  let [looks, hints, nowMs] = [0, 0, 0];
  const seen = await seeAll({
    look: async () => {
      const each = all[looks++];
      if (each === undefined) throw new Error('one look too many');
      hints += each.hints;
      nowMs += each.tookMs ?? 1;
      return found(each.drops);
    },
    hints: () => hints,
    isNew,
    monotonicMs: () => nowMs,
  });
  return [looks, seen.drops.length];
}

describe('a look at the inbox', () => {
  it('is one where nothing happens meanwhile, however much it finds', async () => {
    expect(await see([{ drops: 2000, hints: 0 }])).to.deep.equal([1, 2000]);
  });

  it('is repeated while a crowd comes: all of it is seen together', async () => {
    const looks = [
      { drops: 30, hints: 100 },
      { drops: 1200, hints: 300 },
      { drops: 2000, hints: 0 },
    ];
    expect(await see(looks)).to.deep.equal([3, 2000]);
  });

  it('is not repeated for a few: they are taken at once', async () => {
    expect(await see([{ drops: 9, hints: 5 }])).to.deep.equal([1, 9]);
  });

  it('is not repeated for a file that grows beside many that wait', async () => {
    expect(await see([{ drops: 200, hints: 50 }], () => false)).to.deep.equal([1, 200]);
  });

  it('is not repeated for ever: nobody waits for long', async () => {
    const looks = [100, 100, 100].map((tookMs) => ({ drops: 500, hints: 1, tookMs }));
    expect(await see(looks)).to.deep.equal([3, 500]);
  });
});
