import { expect } from 'chai';
import {
  addSighting,
  ageIn,
  elapsedSince,
  parseReading,
  parseSighting,
  type Sighting,
  sight,
} from '#src/repository/elapsed.js';

const at = (id: string, ms: number) => ({ id, ms });

describe('elapsed time', () => {
  it('is measured by two readings of one clock only', () => {
    expect(elapsedSince(at('a', 10), at('a', 35))).to.equal(25);
    expect(elapsedSince(at('a', 10), at('b', 1_000_000))).to.equal(0);
    expect(elapsedSince(undefined, at('a', 35))).to.equal(0);
    // A machine that was started anew and is known by the same name, or went back to an earlier state.
    expect(elapsedSince(at('a', 1000), at('a', 35))).to.equal(0);
  });

  it('continues from times that other processes wrote', () => {
    const first = sight([], ['x'], at('a', 100));
    expect(first.ages).to.deep.equal({ x: 0 });
    // b knows what a wrote, and not how long ago that was.
    const second = sight([first], ['x', 'y'], at('b', 7));
    expect(second.ages).to.deep.equal({ x: 0, y: 0 });
    const third = sight([first, second], ['x', 'y'], at('a', 150));
    expect(third.ages).to.deep.equal({ x: 50, y: 0 });
    expect(ageIn([second, third], 'x', at('b', 17))).to.equal(50);
    expect(ageIn([second, third], 'y', at('b', 17))).to.equal(10);
    expect(ageIn([second, third], 'z', at('b', 17))).to.equal(undefined);
  });

  it('keeps the last reading of each clock, for the newest clocks', () => {
    let all: Sighting[] = [];
    for (let n = 0; n < 20; n++) all = addSighting(all, sight(all, ['x'], at(`boot ${n}`, n)));
    expect(all.map(({ clock }) => clock.id)).to.deep.equal(
      Array.from({ length: 8 }, (_, n) => `boot ${n + 12}`),
    );
    all = addSighting(all, sight(all, ['x'], at('boot 15', 40)));
    expect(all.map(({ clock }) => clock.id).at(-1)).to.equal('boot 15');
    expect(all).to.have.length(8);
    expect(ageIn(all, 'x', at('none', 0))).to.equal(25);
  });

  it('is not parsed from anything else', () => {
    const sighting = { clock: at('a', 1), ages: { x: 3 } };
    expect(parseSighting(sighting)).to.deep.equal(sighting);
    for (const other of [
      null,
      [],
      'x',
      {},
      { clock: at('a', 1) },
      { ...sighting, clock: { id: 'a' } },
      { ...sighting, clock: at('a', -1) },
      { ...sighting, ages: { x: '3' } },
      { ...sighting, ages: { x: -3 } },
    ]) {
      expect(parseSighting(other), JSON.stringify(other)).to.equal(undefined);
    }
    expect(parseReading({ id: 3, ms: 4 })).to.equal(undefined);
  });
});
