import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { Budget } from '#src/targets/memory-budget.js';

describe('objects: memory budget', () => {
  it('never exceeds the limit, and serves requests in order', async () => {
    const budget = new Budget(10);
    let held = 0;
    let most = 0;
    const order: number[] = [];
    const sizes = [4, 4, 4, 9, 1, 50, 2, 8];
    await Promise.all(
      sizes.map((bytes, at) =>
        budget.use(bytes, async () => {
          order.push(at);
          held += Math.min(bytes, 10);
          most = Math.max(most, held);
          for (let turns = 0; turns < 3; turns++) await turn();
          held -= Math.min(bytes, 10);
        }),
      ),
    );
    expect(order).to.deep.equal(sizes.map((_size, at) => at));
    expect(most).to.equal(10);
  });

  it('is released on failure', async () => {
    const budget = new Budget(1);
    const failed = await budget.use(1, () => Promise.reject(new Error('no'))).catch(String);
    expect(failed).to.equal('Error: no');
    expect(await budget.use(1, async () => 'next')).to.equal('next');
  });
});
