import { expect } from 'chai';
import { SpareTreeTimer } from '#src/daemon/spare-tree-timer.js';
import { Events } from '#src/publisher/events.js';
import { waitFor } from '../support/wait-for.js';

describe('SpareTreeTimer', () => {
  const open = (fail = false) => {
    const made: string[] = [];
    const said: string[] = [];
    const stops: Int32Array[] = [];
    const clock = { nowMs: 0 };
    const spares = new SpareTreeTimer({
      roots: { published: '/p', state: '/s' },
      owner: { token: 'p1x' } as never,
      log: (_level, event) => said.push(event),
      events: new Events(),
      monotonicMs: () => clock.nowMs,
      run: (async (
        { jobName }: { jobName: string },
        { id, stop }: { id: string; stop: Int32Array },
      ) => {
        made.push(`${jobName} ${id}`);
        stops.push(stop);
        if (fail) throw new Error('EIO');
        await waitFor('the end', () => stop[0] === 1, 1000).catch(() => {});
      }) as never,
    });
    const publish = (id: string, files = 5000, times = 2) => {
      for (let n = 0; n < times; n++) spares.published(id as never, files);
    };
    return { spares, publish, made, said, stops, clock };
  };

  it('builds one for a large repository, once after several publishes', async () => {
    const { spares, publish, made } = open();
    publish('small', 10);
    publish('large', 5000, 4);
    publish('other');
    await waitFor('both', () => made.length === 2);
    expect(made).to.deep.equal(['makeSpareTree large', 'makeSpareTree other']);
    spares.stop();
  });

  it('builds none for a repository that is rarely published to', async () => {
    const { spares, publish, made, clock } = open();
    publish('rare', 5000, 1);
    clock.nowMs += 3_600_000;
    publish('rare', 5000, 1);
    publish('often');
    await waitFor('the other', () => made.length === 1);
    expect(made).to.deep.equal(['makeSpareTree often']);
    spares.stop();
  });

  it('builds none while the next publish runs', async () => {
    const { spares, publish, made } = open();
    publish('busy');
    spares.publishing('busy' as never);
    publish('idle');
    await waitFor('the other', () => made.length === 1);
    expect(made).to.deep.equal(['makeSpareTree idle']);
    spares.stop();
  });

  it('stops building when the next publish starts, and on shutdown', async () => {
    const { spares, publish, made, stops } = open();
    publish('a');
    publish('b');
    await waitFor('both', () => made.length === 2);
    expect(stops.map(([flag]) => flag)).to.deep.equal([0, 0]);
    spares.publishing('a' as never);
    expect(stops.map(([flag]) => flag)).to.deep.equal([1, 0]);
    spares.stop();
    expect(stops.map(([flag]) => flag)).to.deep.equal([1, 1]);
  });

  it('starts nothing after it was stopped', async () => {
    const { spares, publish, made } = open();
    publish('a');
    spares.stop();
    publish('b');
    const later = open();
    later.publish('c');
    await waitFor('one that was asked for later', () => later.made.length === 1);
    expect(made).to.deep.equal([]);
    later.spares.stop();
  });

  it('logs a failure, and does not block publishes', async () => {
    const { spares, publish, said } = open(true);
    publish('a');
    await waitFor('a warning', () => said.length === 1);
    expect(said).to.deep.equal(['daemon.warning']);
    spares.stop();
  });
});
