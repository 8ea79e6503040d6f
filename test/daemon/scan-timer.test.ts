/** Goal: a look comes at once after a rest, and looks never fill the time where things happen without a pause. */
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { ScanTimer } from '#src/daemon/scan-timer.js';
import { waitFor } from '../support/wait-for.js';

describe('when the inbox is looked at', () => {
  let nowMs: number;
  let looks: number[];
  let timers: { readonly work: () => void; readonly ms: number }[];
  let lookMs: number;
  const real = globalThis.setTimeout;

  const open = () =>
    new ScanTimer({
      look: async () => {
        looks.push(nowMs);
        nowMs += lookMs;
      },
      monotonicMs: () => nowMs,
      mostMs: () => 30_000,
    });
  const turned = () => new Promise((resolve) => setImmediate(resolve));
  const lastMs = () => timers.at(-1)?.ms;

  beforeEach(() => {
    nowMs = 1000;
    looks = [];
    timers = [];
    lookMs = 4;
    globalThis.setTimeout = ((work: () => void, ms: number) => {
      timers.push({ work, ms });
      return {};
    }) as never;
  });
  afterEach(() => {
    globalThis.setTimeout = real;
  });

  it('is at once, and once for all that ask together', async () => {
    const timer = open();
    timer.within(0);
    timer.within(0);
    expect(looks).to.deep.equal([]);
    await turned();
    expect(looks).to.deep.equal([1000]);
    await timer.stop();
  });

  it('is not again before twice the time that the last one took', async () => {
    const timer = open();
    timer.within(0);
    await turned();
    timer.within(0);
    expect(lastMs()).to.equal(8);
    nowMs += 8;
    timers.at(-1)?.work();
    await turned();
    expect(looks).to.deep.equal([1000, 1012]);
    nowMs += 100;
    timer.within(0);
    await turned();
    expect(looks.length).to.equal(3);
    await timer.stop();
  });

  it('waits no longer than 50 ms for that', async () => {
    lookMs = 500;
    const timer = open();
    timer.within(0);
    await turned();
    timer.within(0);
    expect(lastMs()).to.equal(50);
    await timer.stop();
  });

  it('is after the shortest time that anybody asked for, and after the longest where nobody did', async () => {
    const timer = open();
    timer.within(5000);
    timer.within(100);
    timer.within(7000);
    expect(timers.map(({ ms }) => ms)).to.deep.equal([5000, 100]);
    nowMs += 100;
    timers.at(-1)?.work();
    await turned();
    expect(looks).to.deep.equal([1100]);
    expect(lastMs()).to.equal(30_000);
    await timer.stop();
  });

  it('comes to its end before this stops, and none begins after', async () => {
    globalThis.setTimeout = real;
    let end = () => {};
    let begun = 0;
    const timer = new ScanTimer({
      look: () => {
        begun++;
        return new Promise((resolve) => {
          end = resolve;
        });
      },
      monotonicMs: () => performance.now(),
      mostMs: () => 5,
    });
    timer.within(0);
    await waitFor('the look', () => begun === 1);
    timer.within(0);
    const stopped = timer.stop();
    expect(await Promise.race([stopped, pause(20, 'looks')])).to.equal('looks');
    end();
    await stopped;
    timer.within(0);
    await turned();
    await pause(20);
    expect(begun).to.equal(1);
  });
});
