/** Whether one more thread would find a processor, by a clock of our own. */
import { expect } from 'chai';
import { IdleProcessors } from '#src/threads/idle-processors.js';

/** @param usedMs processor time for each millisecond that passes */
function answersOf(usedMs: number, asked: (processors: IdleProcessors) => void): Promise<boolean> {
  let nowMs = 0;
  return new Promise((resolve) => {
    const processors = new IdleProcessors(resolve, {
      processors: 2,
      usedMs: () => nowMs * usedMs,
      nowMs: () => {
        nowMs += 100;
        return nowMs;
      },
    });
    asked(processors);
  });
}

describe('IdleProcessors', () => {
  const once = (processors: IdleProcessors) => processors.ask();

  it('are idle where they did little', async () => {
    expect(await answersOf(0.8, once)).to.equal(true);
    expect(await answersOf(0, once)).to.equal(true);
  });

  it('are not where one was busy all the time', async () => {
    expect(await answersOf(2, once)).to.equal(false);
    expect(await answersOf(1, once)).to.equal(false);
  });

  it('look once for all who ask meanwhile', () => {
    let looks = 0;
    const usedMs = () => ++looks;
    const clock = { processors: 2, usedMs, nowMs: () => 0 };
    const processors = new IdleProcessors(() => {}, clock);
    processors.ask();
    processors.ask();
    expect(looks).to.equal(1);
    processors.stop();
  });

  it('answer no more when told to stop', async () => {
    const stopped = new IdleProcessors(() => expect.fail('it answered'));
    stopped.ask();
    stopped.stop();
    await answersOf(1, once); // Asked later, so answered later.
  });
});
