import { expect } from 'chai';
import { inChunks } from '#src/daemon/in-chunks.js';

function spend(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end) {}
}

describe('inChunks', () => {
  it('processes each item in order, and yields to the event loop in between', async () => {
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

  it('processes a small list in one chunk', async () => {
    const seen: number[] = [];
    const taken = inChunks([1, 2], (item) => void seen.push(item));
    expect(seen).to.deep.equal([1, 2]);
    await taken;
  });
});
