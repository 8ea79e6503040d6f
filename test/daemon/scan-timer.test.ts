/**
 * Goal: a scan starts at once after an idle period, and scans never take all the time under a constant
 * load.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { ScanTimer } from '#src/daemon/scan-timer.js';
import { waitFor } from '../support/wait-for.js';

describe('inbox scan timing', () => {
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

  it('scans at once, and once for all requests made together', async () => {
    const timer = open();
    timer.within(0);
    timer.within(0);
    expect(looks).to.deep.equal([]);
    await turned();
    expect(looks).to.deep.equal([1000]);
    await timer.stop();
  });

  it('leaves at least twice the duration of the last scan between scans', async () => {
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

  it('waits at most 50 ms for that pause', async () => {
    lookMs = 500;
    const timer = open();
    timer.within(0);
    await turned();
    timer.within(0);
    expect(lastMs()).to.equal(50);
    await timer.stop();
  });

  it('uses the shortest requested delay, and the longest delay without a request', async () => {
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

  it('finishes a running scan before it stops, and starts none afterwards', async () => {
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
