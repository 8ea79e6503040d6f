import { expect } from 'chai';
import { BatchQueue, InOrder } from '#src/publisher/batch-queue.js';
import { waitFor } from '../support/wait-for.js';

interface Batch {
  readonly key: string;
  readonly items: readonly number[];
  end(): void;
}

interface Item {
  readonly key: string;
  readonly number: number;
}

describe('BatchQueue', () => {
  let batches: Batch[];
  let queue: BatchQueue<Item>;
  let bugs: unknown[];
  const onBug = (error: unknown) => {
    bugs.push(error);
  };
  beforeEach(() => {
    batches = [];
    bugs = [];
  });
  afterEach(() => {
    expect(bugs).to.deep.equal([]);
  });
  const asBatch = (items: readonly Item[], end: () => void): Batch => ({
    key: items[0]?.key ?? '',
    items: items.map(({ number }) => number),
    end,
  });
  const open = (parallel: number, batch: number) => {
    const publish = (items: Item[]) =>
      new Promise<void>((resolve) => void batches.push(asBatch(items, resolve)));
    queue = new BatchQueue({ parallel, batch }, publish, onBug);
  };
  const add = (key: string, ...numbers: readonly number[]) => {
    for (const number of numbers) queue.add(key, { key, number });
  };
  const begun = (count: number) =>
    waitFor(`batch ${count}`, () => (batches.length >= count ? batches[count - 1] : undefined));
  const ended = () =>
    waitFor('all batches to end', () => queue.running === 0 && queue.waiting === 0);
  const quiet = () => new Promise((resolve) => setTimeout(resolve, 20));

  it('runs one batch at a time per repository, with all its waiting drops', async () => {
    open(4, 100);
    add('a', 1);
    const first = await begun(1);
    add('a', 2, 3, 4);
    expect(queue.waiting).to.equal(3);
    expect(queue.running).to.equal(1);
    first.end();
    const second = await begun(2);
    expect([first.items, second.items]).to.deep.equal([[1], [2, 3, 4]]);
    second.end();
    await ended();
    expect(batches).to.have.length(2);
  });

  it('publishes different repositories in parallel, up to the limit', async () => {
    open(2, 100);
    for (const key of ['a', 'b', 'c']) add(key, 1);
    await begun(2);
    expect(queue.running).to.equal(2);
    expect(queue.waiting).to.equal(1);
    batches[0]?.end();
    const third = await begun(3);
    expect(batches.map(({ key }) => key)).to.deep.equal(['a', 'b', 'c']);
    batches[1]?.end();
    third.end();
    await ended();
  });

  it('combines drops that arrive one after the other', async () => {
    open(1, 100);
    add('a', 1);
    await Promise.resolve();
    add('a', 2);
    expect((await begun(1)).items).to.deep.equal([1, 2]);
    batches[0]?.end();
    await ended();
  });

  it('combines drops that arrive while a batch waits for its slot', async () => {
    open(1, 100);
    add('a', 1);
    await begun(1);
    add('b', 1, 2);
    await quiet();
    add('b', 3);
    batches[0]?.end();
    expect((await begun(2)).items).to.deep.equal([1, 2, 3]);
    batches[1]?.end();
    await ended();
  });

  it('limits the batch size, keeps the order, and loses nothing', async () => {
    open(1, 2);
    add('a', 0);
    await begun(1);
    add('a', 1, 2, 3, 4, 5);
    for (let batch = 1; batch <= 4; batch++) (await begun(batch)).end();
    await ended();
    expect(batches.map(({ items }) => items)).to.deep.equal([[0], [1, 2], [3, 4], [5]]);
  });

  it('keeps the order when drops arrive while a full batch is published', async () => {
    open(1, 2);
    add('a', 1, 2, 3, 4, 5);
    (await begun(1)).end();
    add('a', 6);
    for (let batch = 2; batch <= 3; batch++) (await begun(batch)).end();
    await ended();
    expect(batches.flatMap(({ items }) => items)).to.deep.equal([1, 2, 3, 4, 5, 6]);
  });

  it('finishes running batches when it stops, and starts no new one', async () => {
    open(1, 100);
    add('a', 1);
    const first = await begun(1);
    add('a', 2);
    add('b', 3);
    let isStopped = false;
    const stopping = queue.stop().then(() => {
      isStopped = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isStopped).to.equal(false);
    first.end();
    await stopping;
    await quiet();
    expect(batches).to.have.length(1);
    expect(queue.waiting).to.equal(2);
  });

  it('reports a batch that throws, and continues with other repositories and with that one', async () => {
    const failure = new Error('made up');
    const publish = async (items: Item[]) => {
      if (items[0]?.key === 'bad' && items[0].number === 1) throw failure;
      batches.push(asBatch(items, () => {}));
    };
    queue = new BatchQueue({ parallel: 1, batch: 100 }, publish, onBug);
    add('bad', 1);
    add('good', 1);
    await begun(1);
    await waitFor('the failure', () => bugs.length === 1);
    expect(bugs.splice(0)).to.deep.equal([failure]);
    add('good', 2);
    add('bad', 2);
    await begun(3);
    expect(batches.map(({ key, items }) => [key, ...items])).to.deep.equal([
      ['good', 1],
      ['good', 2],
      ['bad', 2],
    ]);
  });
});

describe('InOrder', () => {
  let passed: string[];
  let order: InOrder<string>;
  beforeEach(() => {
    passed = [];
    order = new InOrder<string>((item) => passed.push(item));
  });
  const announce = (key: string, ...items: readonly string[]) => {
    for (const item of items) order.announce(key, item);
  };
  const ready = (key: string, ...items: readonly string[]) => {
    for (const item of items) order.ready(key, item);
  };

  it('releases a ready item at once when nothing precedes it', () => {
    announce('a', 'a1');
    expect(passed).to.deep.equal([]);
    ready('a', 'a1');
    expect(passed).to.deep.equal(['a1']);
  });

  it('releases items in the order in which they were announced', () => {
    announce('a', 'a1', 'a2', 'a3', 'a4');
    ready('a', 'a4', 'a2');
    expect(passed).to.deep.equal([]);
    ready('a', 'a1');
    expect(passed).to.deep.equal(['a1', 'a2']);
    announce('a', 'a5');
    ready('a', 'a5', 'a3');
    expect(passed).to.deep.equal(['a1', 'a2', 'a3', 'a4', 'a5']);
  });

  it('does not make keys wait for each other', () => {
    announce('a', 'a1', 'a2');
    announce('b', 'b1');
    ready('a', 'a2');
    ready('b', 'b1');
    expect(passed).to.deep.equal(['b1']);
    ready('a', 'a1');
    expect(passed).to.deep.equal(['b1', 'a1', 'a2']);
  });

  it('does not wait for a cancelled item, whatever its position', () => {
    announce('a', 'a1', 'a2', 'a3', 'a4');
    ready('a', 'a2', 'a4');
    order.withdraw('a', 'a3');
    expect(passed).to.deep.equal([]);
    order.withdraw('a', 'a1');
    expect(passed).to.deep.equal(['a2', 'a4']);
  });

  it('does not release items that were cancelled or never announced', () => {
    announce('a', 'a1', 'a2');
    order.withdraw('a', 'a1');
    ready('a', 'a1');
    ready('b', 'b1');
    order.withdraw('b', 'b1');
    expect(passed).to.deep.equal([]);
    ready('a', 'a2');
    expect(passed).to.deep.equal(['a2']);
  });

  it('places an item that is announced again behind the others', () => {
    announce('a', 'a1', 'a2');
    order.withdraw('a', 'a1');
    announce('a', 'a1');
    ready('a', 'a1');
    expect(passed).to.deep.equal([]);
    ready('a', 'a2');
    expect(passed).to.deep.equal(['a2', 'a1']);
  });
});
