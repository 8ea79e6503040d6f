import { expect } from 'chai';
import { LeftWork } from '#src/threads/left-work.js';

describe('LeftWork', () => {
  it('is done in order, one after the other, before the answer is told', async () => {
    const log: string[] = [];
    const left = new LeftWork();
    for (const name of ['a', 'b']) {
      left.add(async () => {
        log.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`${name} ends`);
      });
    }
    expect(await left.conclude(() => log.push('answered') && 'answer')).to.equal('answer');
    expect(log).to.deep.equal(['a begins', 'a ends', 'b begins', 'b ends', 'answered']);
  });

  it('that fails fails the job, and nothing is done that was left after it', async () => {
    const left = new LeftWork();
    let done = false;
    left.add(() => Promise.reject(new Error('EIO')));
    left.add(async () => {
      done = true;
    });
    const told = await left.conclude(() => 'answer').catch((error: Error) => error.message);
    expect(told).to.equal('EIO');
    expect(done).to.equal(false);
  });

  it("that fails comes after the job's own failure, which it may have been caused by", async () => {
    const left = new LeftWork();
    left.add(() => Promise.reject(new Error('ENOENT')));
    const answer = (): never => {
      throw new Error('digest.mismatch');
    };
    const told = await left.conclude(answer).catch((error: Error) => error.message);
    expect(told).to.equal('digest.mismatch');
  });
});
