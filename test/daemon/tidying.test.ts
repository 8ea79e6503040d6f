import { expect } from 'chai';
import type { Services } from '#src/daemon/services.js';
import { Tidying } from '#src/daemon/tidying.js';
import { DropdockError } from '#src/errors.js';

describe('background deletion', () => {
  let busy: boolean;
  let begun: string[];
  let warned: string[];
  let goOn: () => void;
  let failing: Error | undefined;

  const open = () => {
    const run = ({ jobName }: { jobName: string }) => {
      begun.push(jobName);
      return new Promise<void>((resolve, reject) => {
        const before = goOn;
        goOn = () => {
          before();
          if (failing) reject(failing);
          else resolve();
        };
      });
    };
    const log = (_level: string, event: string) => void warned.push(event);
    const events = { emit: () => {} };
    const services = { inbox: '/i', roots: {}, run, log, events } as unknown as Services;
    return new Tidying(services, () => busy);
  };
  /** What runs comes to its end. */
  const ended = async () => {
    goOn();
    await new Promise((resolve) => setImmediate(resolve));
  };

  beforeEach(() => {
    busy = false;
    begun = [];
    warned = [];
    goOn = () => {};
    failing = undefined;
  });

  it('runs at once when idle, one item after the other', async () => {
    const tidying = open();
    tidying.want();
    expect(begun).to.deep.equal(['deleteMarked', 'emptyTrash']);
    tidying.want();
    tidying.want();
    expect(begun.length).to.equal(2);
    await ended();
    expect(begun.length).to.equal(4);
    await ended();
    expect(begun.length).to.equal(4);
  });

  it('waits while user-visible work is pending', async () => {
    const tidying = open();
    busy = true;
    tidying.want();
    tidying.want();
    expect(begun).to.deep.equal([]);
    busy = false;
    tidying.want();
    expect(begun.length).to.equal(2);
    const stopped = tidying.stop();
    await ended();
    await stopped;
  });

  it('waits at most 5 s', async () => {
    const real = globalThis.setTimeout;
    const timers: { work: () => void; ms: number }[] = [];
    globalThis.setTimeout = ((work: () => void, ms: number) => {
      timers.push({ work, ms });
      return {};
    }) as never;
    try {
      busy = true;
      const tidying = open();
      tidying.want();
      tidying.want();
      expect(timers.map(({ ms }) => ms)).to.deep.equal([5000]);
      timers[0]?.work();
      expect(begun.length).to.equal(2);
      await ended();
      // The next wish begins a wait of its own.
      tidying.want();
      expect(timers.length).to.equal(2);
    } finally {
      globalThis.setTimeout = real;
    }
  });

  it('completes urgent deletions before it stops, and starts none afterwards', async () => {
    busy = true;
    const tidying = open();
    tidying.want();
    const stopped = tidying.stop();
    expect(begun.length).to.equal(2);
    tidying.want();
    await ended();
    await stopped;
    expect(begun.length).to.equal(2);
  });

  it('reports failed deletions, but not threads that end with the daemon', async () => {
    failing = new DropdockError('thread.failed', 'made to fail');
    const tidying = open();
    tidying.want();
    await ended();
    await ended();
    expect(warned).to.deep.equal(['daemon.warning', 'daemon.warning']);
    tidying.want();
    const stopped = tidying.stop();
    await ended();
    await stopped;
    expect(warned.length).to.equal(2);
  });
});
