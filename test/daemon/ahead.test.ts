import { expect } from 'chai';
import { Ahead } from '#src/daemon/ahead.js';
import { waitFor } from '../support/wait-for.js';

describe('Ahead', () => {
  const open = (fail = false) => {
    const made: string[] = [];
    const said: string[] = [];
    const clock = { nowMs: 0 };
    const ahead = new Ahead({
      roots: { published: '/p', state: '/s' },
      owner: { token: 'p1x' } as never,
      log: (_level, event) => said.push(event),
      monotonicMs: () => clock.nowMs,
      run: (async (job: string, { id, wanted }: { id: string; wanted: number }) => {
        made.push(`${job} ${id} ${wanted}`);
        if (fail) throw new Error('EIO');
      }) as never,
    });
    return { ahead, made, said, clock };
  };

  it('makes the next tree of a large repository, once after several publishes', async () => {
    const { ahead, made } = open();
    ahead.published('small' as never, 10);
    for (let n = 0; n < 3; n++) ahead.published('large' as never, 5000);
    ahead.published('other' as never, 5000);
    await waitFor('both', () => made.length === 2);
    expect(made).to.deep.equal(['prepareNext large 1', 'prepareNext other 1']);
    ahead.stop();
  });

  it('makes two when it was published to a short time ago, one when that is long ago', async () => {
    const { ahead, made, clock } = open();
    for (const [nowMs, expected] of [
      [0, 1],
      [10_000, 2],
      [100_000, 1],
    ] as const) {
      clock.nowMs = nowMs;
      const before = made.length;
      ahead.published('large' as never, 5000);
      await waitFor('it', () => made.length > before);
      expect(made.at(-1)).to.equal(`prepareNext large ${expected}`);
    }
    ahead.stop();
  });

  it('begins again when there is something newer by the end', async () => {
    const { ahead, made } = open();
    ahead.published('large' as never, 5000);
    await waitFor('the first', () => made.length === 1);
    ahead.published('large' as never, 5000);
    ahead.published('large' as never, 5000);
    await waitFor('the second', () => made.length === 2);
    expect(made).to.deep.equal(['prepareNext large 1', 'prepareNext large 2']);
    ahead.stop();
  });

  it('begins nothing once it is stopped', async () => {
    const { ahead, made } = open();
    ahead.published('a' as never, 5000);
    ahead.stop();
    ahead.published('b' as never, 5000);
    const { ahead: later, made: marker } = open();
    later.published('c' as never, 5000);
    await waitFor('one that was asked for later', () => marker.length === 1);
    expect(made).to.deep.equal([]);
    later.stop();
  });

  it('says when it fails, and keeps nobody from publishing', async () => {
    const { ahead, said } = open(true);
    ahead.published('a' as never, 5000);
    await waitFor('a warning', () => said.length === 1);
    expect(said).to.deep.equal(['daemon.warning']);
    ahead.stop();
  });
});
