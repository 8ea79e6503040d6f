/**
 * The current pointer on a store: rarely requested, shared by all requests, and never assumed to be
 * missing.
 */
import { expect } from 'chai';
import type { RepositoryId, RepositoryName } from '#src/image/names.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { nextPointer, type Pointer, serialisePointer } from '#src/targets/object-store/pointer.js';
import { Pointers } from '#src/targets/object-store/pointer-cache.js';
import { MemoryStore } from '../../support/memory-store.js';
import { refusalOf } from '../../support/refusal.js';

const ID = 'team~app' as RepositoryId;
const KEY = `repos/${ID}/current`;

describe('the pointer cache', () => {
  let store: MemoryStore;
  let nowMs: number;
  let away: string[];
  let before: Pointer | undefined;

  beforeEach(() => {
    store = new MemoryStore();
    nowMs = 1000;
    away = [];
    before = undefined;
  });

  /** Makes snapshot number `n` the truth. */
  function flip(n: number): string {
    const snapshot = toTimestamp(n * 1000);
    const facts = { repository: 'team/app' as RepositoryName, id: ID, tags: 1, redirectHash: '' };
    const why = { why: 'publish', drops: [] } as const;
    before = nextPointer(before, { ...why, snapshot, at: snapshot }, facts);
    store.put(KEY, serialisePointer(before));
    return snapshot;
  }
  const open = (ageMs: number, staleMs = 0) =>
    new Pointers({
      store,
      ageMs,
      staleMs,
      monotonicMs: () => nowMs,
      onAway: (trouble) => void away.push(trouble ? 'away' : 'back'),
    });
  /** Holds every answer until the returned function is called. */
  function hold(): () => void {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    store.delay = () => held;
    return () => {
      store.delay = async () => {};
      release();
    };
  }

  it('uses a pointer for the cache age, then revalidates it with its ETag', async () => {
    const first = flip(1);
    const pointers = open(1000);
    expect((await pointers.current(ID))?.snapshot).to.equal(first);
    nowMs += 999;
    await pointers.current(ID);
    expect(store.asked).to.deep.equal([`get ${KEY}`]);
    nowMs += 1;
    expect((await pointers.current(ID))?.snapshot).to.equal(first);
    expect(store.asked.slice(1)).to.deep.equal([`get ${KEY}`, `same ${KEY}`]);
    const second = flip(2);
    expect((await pointers.current(ID))?.snapshot, 'still believed').to.equal(first);
    nowMs += 1000;
    expect((await pointers.current(ID))?.snapshot).to.equal(second);
  });

  it('requests a pointer each time if the age is 0', async () => {
    flip(1);
    const pointers = open(0);
    for (let n = 0; n < 3; n++) await pointers.current(ID);
    expect(store.count(/^get/)).to.equal(3);
  });

  it('sends one request for all concurrent reads', async () => {
    flip(1);
    const pointers = open(1000);
    const release = hold();
    const asked = Array.from({ length: 50 }, () => pointers.current(ID));
    release();
    const found = new Set((await Promise.all(asked)).map((each) => each?.snapshot));
    expect([...found]).to.have.length(1);
    expect(store.count(/^get/)).to.equal(1);
  });

  it('does not mark a pointer as missing from a response older than the read', async () => {
    const pointers = open(1000);
    const release = hold();
    const early = pointers.current(ID);
    nowMs += 5;
    const late = pointers.current(ID);
    // The first request has been answered, though not yet heard, when it is published.
    flip(1);
    release();
    expect(await early).to.equal(undefined);
    expect((await late)?.snapshot).to.equal(toTimestamp(1000));
  });

  it('confirms a pointer with a request newer than a given time', async () => {
    flip(1);
    const pointers = open(60_000);
    await pointers.current(ID);
    const second = flip(2);
    nowMs += 10;
    expect((await pointers.confirmed(ID, 1000))?.snapshot, 'confirmed then').not.to.equal(second);
    expect((await pointers.confirmed(ID, nowMs))?.snapshot).to.equal(second);
    expect(store.count(/^get/)).to.equal(2);
    expect((await pointers.current(ID))?.snapshot, 'and all know it').to.equal(second);
  });

  it('returns the last value while the store is down, for a limited time', async () => {
    const first = flip(1);
    const pointers = open(1000, 60_000);
    await pointers.current(ID);
    store.isAway = true;
    nowMs += 5000;
    expect((await pointers.current(ID))?.snapshot).to.equal(first);
    const asked = store.asked.length;
    for (let n = 0; n < 20; n++) await pointers.current(ID);
    expect(store.asked.length, 'it is left alone').to.equal(asked);
    expect(away).to.deep.equal(['away']);
    nowMs += 60_000;
    expect((await refusalOf(pointers.current(ID))).code).to.equal('target.failed');
    store.isAway = false;
    const second = flip(2);
    expect((await pointers.current(ID))?.snapshot).to.equal(second);
    expect(away).to.deep.equal(['away', 'back']);
  });

  it('returns the last value when the store is slow, and the new one after its response', async () => {
    const first = flip(1);
    const pointers = open(0, 60_000);
    await pointers.current(ID);
    const second = flip(2);
    const release = hold();
    expect((await pointers.current(ID))?.snapshot).to.equal(first);
    release();
    nowMs += 5000;
    expect((await pointers.current(ID))?.snapshot).to.equal(second);
  });

  it('never reports a pointer as missing or confirmed while the store is down', async () => {
    flip(1);
    const pointers = open(1000, 60_000);
    await pointers.current(ID);
    store.isAway = true;
    expect((await refusalOf(pointers.current('other' as RepositoryId))).code).to.equal(
      'target.failed',
    );
    nowMs += 1;
    expect((await refusalOf(pointers.confirmed(ID, nowMs))).code).to.equal('target.failed');
  });

  it('removes a pointer when the store reports it missing', async () => {
    flip(1);
    const pointers = open(1000, 60_000);
    await pointers.current(ID);
    store.objects.delete(KEY);
    nowMs += 1000;
    expect(await pointers.current(ID)).to.equal(undefined);
  });
});
