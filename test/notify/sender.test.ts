import { expect } from 'chai';
import type { Delivery } from '#src/notify/deliver.js';
import { Sender, type SenderOptions } from '#src/notify/sender.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { waitFor } from '../support/wait-for.js';

const absent = { ok: false, why: 'absent', what: 'nobody' } as const;
const refused = { ok: false, why: 'refused', what: 'no' } as const;

class World {
  readonly box = new Map<string, string>();
  readonly said: string[] = [];
  readonly tried: string[] = [];
  nowMs = Date.now();
  readonly sender: Sender;

  constructor(
    deliver: (id: string, signal: AbortSignal, times: number) => Delivery | Promise<Delivery>,
    more: Partial<SenderOptions> = {},
  ) {
    this.sender = new Sender({
      box: {
        list: async () => [...this.box.keys()].sort(),
        read: async (name) => this.box.get(name),
        remove: async (name) => void this.box.delete(name),
      },
      deliver: async ({ id }, _body, signal) => {
        this.tried.push(id);
        return deliver(id, signal, this.tried.filter((each) => each === id).length);
      },
      retry: () => ({ first: 1, most: 4 }),
      nowMs: () => this.nowMs,
      onSent: ({ id }) => this.said.push(`sent ${id}`),
      onFailed: ({ id }, _what, attempt, next) => this.said.push(`failed ${id} ${attempt} ${next}`),
      onDropped: (notice, what) => this.said.push(`dropped ${notice?.id} ${what}`),
      onTrouble: (error) => this.said.push(error.message),
      ...more,
    });
  }

  put(...ids: string[]): void {
    const at = toTimestamp(this.nowMs);
    for (const id of ids) this.box.set(id, JSON.stringify({ event: 'published', id, at }));
  }

  idle(): Promise<unknown> {
    return waitFor('an empty box', () => this.box.size === 0);
  }
}

describe('a sender', () => {
  it('sends pending notifications in order, including new arrivals', async () => {
    const world = new World((id) => {
      if (id === 'b') {
        world.put('d');
        world.sender.look();
      }
      return { ok: true };
    });
    world.put('c', 'a', 'b');
    world.sender.look();
    await world.idle();
    expect(world.said).to.deep.equal(['sent a', 'sent b', 'sent c', 'sent d']);
  });

  it('retries with growing delays up to the maximum, and keeps the order', async () => {
    const world = new World((id, _signal, times) =>
      id === 'a' && times < 6 ? absent : { ok: true },
    );
    world.put('a', 'b');
    world.sender.look();
    await world.idle();
    const delays = [1, 2, 4, 4, 4].map((ms, at) => `failed a ${at + 1} ${ms}`);
    expect(world.said).to.deep.equal([...delays, 'sent a', 'sent b']);
  });

  it('gives up a notification rejected five times, and sends the next', async () => {
    const world = new World((id) => (id === 'a' ? refused : { ok: true }));
    world.put('a', 'b');
    world.sender.look();
    await world.idle();
    expect(world.tried.filter((id) => id === 'a')).to.have.length(5);
    expect(world.said.slice(-2)).to.deep.equal(['dropped a no', 'sent b']);
  });

  it('gives up after a day of failures, and never before the minimum number of attempts', async () => {
    const world = new World(() => absent);
    world.put('a');
    world.nowMs += 25 * 3_600_000;
    world.sender.look();
    await world.idle();
    expect(world.said.at(-1)).to.equal('dropped a nobody');
    expect(world.tried).to.have.length(5);
  });

  it('keeps retrying a younger notification, however often it fails', async () => {
    const world = new World(() => (world.tried.length < 20 ? absent : { ok: true }));
    world.put('a');
    world.nowMs += 23 * 3_600_000;
    world.sender.look();
    await world.idle();
    expect(world.said.at(-1)).to.equal('sent a');
  });

  it('skips damaged entries, and survives an unreadable queue', async () => {
    let broken = true;
    const world = new World(() => ({ ok: true }));
    const trouble = new World(() => ({ ok: true }), {
      box: {
        list: async () => {
          if (broken) throw new Error('EIO');
          return [...trouble.box.keys()];
        },
        read: async (name) => trouble.box.get(name),
        remove: async (name) => void trouble.box.delete(name),
      },
    });
    world.box.set('0', '{"half');
    world.put('a');
    world.sender.look();
    await world.idle();
    expect(world.said).to.deep.equal(['dropped undefined damaged', 'sent a']);
    trouble.put('a');
    trouble.sender.look();
    await waitFor('the trouble to be told', () => trouble.said.includes('EIO'));
    broken = false;
    trouble.sender.look();
    await trouble.idle();
  });

  it('on stop finishes the running delivery, starts no other, and keeps the rest', async () => {
    let finish: (delivery: Delivery) => void = () => {};
    const world = new World(
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    world.put('a', 'b');
    world.sender.look();
    await waitFor('the first', () => world.tried.length === 1);
    const stopped = world.sender.stop(60_000);
    finish({ ok: true });
    await stopped;
    expect([...world.box.keys()]).to.deep.equal(['b']);
    world.sender.look();
    expect(world.tried).to.deep.equal(['a']);
  });

  it('stops a hanging delivery after the time limit, and does not wait for a delay', async () => {
    const hanging = new World(
      (_id, signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve(absent));
        }),
    );
    hanging.put('a');
    hanging.sender.look();
    await waitFor('the attempt', () => hanging.tried.length === 1);
    await hanging.sender.stop(10);
    expect([...hanging.box.keys()]).to.deep.equal(['a']);
    const waiting = new World(() => absent, {
      retry: () => ({ first: 3_600_000, most: 3_600_000 }),
    });
    waiting.put('a');
    waiting.sender.look();
    await waitFor('the failure', () => waiting.said.length === 1);
    await waiting.sender.stop(3_600_000);
    expect([...waiting.box.keys()]).to.deep.equal(['a']);
  });
});
