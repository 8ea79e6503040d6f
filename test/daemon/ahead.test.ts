import { expect } from 'chai';
import { Ahead } from '#src/daemon/ahead.js';
import { waitFor } from '../support/wait-for.js';

describe('Ahead', () => {
  const open = (fail = false) => {
    const made: string[] = [];
    const said: string[] = [];
    const ahead = new Ahead({
      roots: { published: '/p', state: '/s' },
      owner: { token: 'p1x' } as never,
      log: (_level, event) => said.push(event),
      run: (async (job: string, { id }: { id: string }) => {
        made.push(`${job} ${id}`);
        if (fail) throw new Error('EIO');
      }) as never,
    });
    return { ahead, made, said };
  };

  it('makes the next tree of a large repository, once after several publishes', async () => {
    const { ahead, made } = open();
    ahead.published('small' as never, 10);
    for (let n = 0; n < 3; n++) ahead.published('large' as never, 5000);
    ahead.published('other' as never, 5000);
    await waitFor('both', () => made.length === 2);
    expect(made).to.deep.equal(['prepareNext large', 'prepareNext other']);
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
