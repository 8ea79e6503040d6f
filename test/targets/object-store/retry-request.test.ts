import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { DropdockError } from '#src/errors.js';
import { eachOf } from '#src/targets/object-store/bring-content.js';
import { withRetry } from '#src/targets/object-store/retry-request.js';

describe('objects: retries of a request', () => {
  const failure = (outcome: 'unknown' | 'refused') =>
    new DropdockError('target.failed', outcome, { path: 'key', outcome });

  /** @returns the result or the error, and how often it was tried */
  async function tried(...errors: Error[]): Promise<[unknown, number]> {
    let tries = 0;
    const work = async () => {
      const error = errors[tries++];
      if (error) throw error;
      return 'done';
    };
    return [await withRetry(work).catch((error) => error), tries];
  }

  it('continue while the outcome is unknown, up to four attempts', async () => {
    const unknown = [1, 2, 3, 4, 5].map(() => failure('unknown'));
    expect(await tried(...unknown.slice(0, 3))).to.deep.equal(['done', 4]);
    const [error, tries] = await tried(...unknown);
    expect(error).to.equal(unknown[3]);
    expect(tries).to.equal(4);
  });

  it('stop at a rejection or a bug', async () => {
    for (const final of [failure('refused'), new TypeError('a bug'), new Error('another')]) {
      const [error, tries] = await tried(final);
      expect(error).to.equal(final);
      expect(tries).to.equal(1);
    }
  });
});

describe('objects: parallel requests', () => {
  it('never exceed the limit, and start in order', async () => {
    const begun: number[] = [];
    let running = 0;
    let most = 0;
    const numbers = Array.from({ length: 20 }, (_none, at) => at);
    await eachOf(numbers, 3, async (number) => {
      begun.push(number);
      most = Math.max(most, ++running);
      await sleep(number % 4);
      running--;
    });
    expect(begun).to.deep.equal(numbers);
    expect(most).to.equal(3);
    await eachOf([], 3, () => Promise.reject(new Error('nothing to do')));
  });

  it('start nothing after a failure, and throw it when all running requests have ended', async () => {
    const ended: number[] = [];
    const error = await eachOf([1, 2, 3, 4, 5], 3, async (number) => {
      await sleep(number === 2 ? 5 : 50);
      if (number === 2) throw new Error('first');
      ended.push(number);
      if (number === 3) throw new Error('later');
    }).catch((reason) => reason);
    expect(error.message).to.equal('first');
    expect(ended).to.deep.equal([1, 3]);
  });
});
