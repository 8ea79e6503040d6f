import { expect } from 'chai';
import { inChunks } from '#src/daemon/breaths.js';

function spend(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end) {}
}

describe('inChunks', () => {
  it('takes each in order, and lets others in between', async () => {
    const seen: number[] = [];
    let others = 0;
    const timer = setInterval(() => others++, 1);
    await inChunks([1, 2, 3, 4, 5, 6], (item) => {
      spend(10);
      seen.push(item);
    });
    clearInterval(timer);
    expect(seen).to.deep.equal([1, 2, 3, 4, 5, 6]);
    expect(others).to.be.at.least(3);
  });

  it('takes few at once', async () => {
    const seen: number[] = [];
    const taken = inChunks([1, 2], (item) => void seen.push(item));
    expect(seen).to.deep.equal([1, 2]);
    await taken;
  });
});
