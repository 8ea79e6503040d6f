import { expect } from 'chai';
import { Work } from '#src/work.js';
import { waitFor } from './support/wait-for.js';

interface Turn {
  readonly key: string;
  readonly items: readonly number[];
  end(): void;
}

describe('Work', () => {
  let turns: Turn[];
  let work: Work<number>;
  let bugs: unknown[];
  const onBug = (error: unknown) => {
    bugs.push(error);
  };
  beforeEach(() => {
    bugs = [];
  });
  const open = (parallel: number, batch: number) => {
    turns = [];
    work = new Work(
      { parallel, batch },
      (key, items) => {
        return new Promise((resolve) => turns.push({ key, items, end: resolve }));
      },
      onBug,
    );
  };
  const begun = (count: number) =>
    waitFor(`turn ${count}`, () => (turns.length >= count ? turns[count - 1] : undefined));
  const ended = () => waitFor('all turns to end', () => work.running === 0 && work.waiting === 0);

  it('gives one repository one turn at a time, with all that waits for it', async () => {
    open(4, 100);
    work.add('a', 1);
    const first = await begun(1);
    for (const item of [2, 3, 4]) work.add('a', item);
    expect(work.waiting).to.equal(3);
    expect(work.running).to.equal(1);
    first.end();
    const second = await begun(2);
    expect([first.items, second.items]).to.deep.equal([[1], [2, 3, 4]]);
    second.end();
    await ended();
    expect(turns).to.have.length(2);
  });

  it('gives different repositories turns at once, as many as it is told', async () => {
    open(2, 100);
    for (const key of ['a', 'b', 'c']) work.add(key, 1);
    await begun(2);
    expect(work.running).to.equal(2);
    expect(work.waiting).to.equal(1);
    turns[0]?.end();
    const third = await begun(3);
    expect(turns.map(({ key }) => key)).to.deep.equal(['a', 'b', 'c']);
    turns[1]?.end();
    third.end();
    await ended();
  });

  it('takes together what comes while a turn waits for its slot', async () => {
    open(1, 100);
    work.add('a', 1);
    await begun(1);
    work.add('b', 1);
    work.add('b', 2);
    turns[0]?.end();
    expect((await begun(2)).items).to.deep.equal([1, 2]);
    turns[1]?.end();
    await ended();
  });

  it('takes no more than a batch at once, in order, and loses nothing', async () => {
    open(1, 2);
    work.add('a', 0);
    await begun(1);
    for (const item of [1, 2, 3, 4, 5]) work.add('a', item);
    for (let turn = 1; turn <= 4; turn++) (await begun(turn)).end();
    await ended();
    expect(turns.map(({ items }) => items)).to.deep.equal([[0], [1, 2], [3, 4], [5]]);
  });

  it('lets running turns end when it stops, and begins no new one', async () => {
    open(1, 100);
    work.add('a', 1);
    const first = await begun(1);
    work.add('a', 2);
    work.add('b', 3);
    let stopped = false;
    const stopping = work.stop().then(() => {
      stopped = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(stopped).to.equal(false);
    first.end();
    await stopping;
    expect(turns).to.have.length(1);
    expect(work.waiting).to.equal(2);
  });

  it('waits for what a turn is to wait for, and takes what comes meanwhile', async () => {
    let goOn: () => void = () => {};
    const opened = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    turns = [];
    const take = (key: string, items: number[]) =>
      new Promise<void>((resolve) => void turns.push({ key, items, end: resolve }));
    const gather = (key: string) => (key === 'a' ? opened : undefined);
    work = new Work({ parallel: 1, batch: 100 }, take, onBug, gather);
    work.add('a', 1);
    work.add('b', 2);
    const other = await begun(1);
    expect(other.key, 'who waits takes no slot').to.equal('b');
    other.end();
    work.add('a', 3);
    goOn();
    const late = await begun(2);
    expect(late.items).to.deep.equal([1, 3]);
    late.end();
    await ended();
  });

  it('tells of a turn that throws, and goes on with the others', async () => {
    const failure = new Error('made up');
    turns = [];
    const take = async (key: string, items: number[]) => {
      if (key === 'bad') throw failure;
      turns.push({ key, items, end: () => {} });
    };
    const gather = (key: string) => (key === 'worse' ? Promise.reject(failure) : undefined);
    work = new Work({ parallel: 1, batch: 100 }, take, onBug, gather);
    for (const key of ['bad', 'worse', 'good']) work.add(key, 1);
    await begun(1);
    await waitFor('both failures', () => bugs.length === 2);
    expect(bugs).to.deep.equal([failure, failure]);
    work.add('good', 2);
    expect((await begun(2)).items).to.deep.equal([2]);
  });
});
