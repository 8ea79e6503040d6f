import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { parseRepositoryId } from '#src/image/names.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { nodeDisk } from '#src/storage/disk.js';
import { historyPath, pivotPath, pivotTarget, type TreeRoots } from '#src/storage/tree-paths.js';
import {
  type FlipRecord,
  noteAges,
  readFullHistory,
  readHistory,
  recordFlip,
  repairHistory,
} from '#src/targets/directory/flip-history.js';
import { interfereWith, systemError } from '../../support/faulty-disk.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const ID = parseRepositoryId('team~app');
const START = Date.UTC(2026, 10, 23);

describe('the history of a repository', () => {
  let roots: TreeRoots;
  const file = () => historyPath(roots, ID);
  const flip = (n: number, names: string[] = ['app']): FlipRecord => {
    const at = toTimestamp(START + n);
    return { at, snapshot: at, why: 'publish', drops: names.map((drop) => ({ drop, at })) };
  };
  const record = (...flips: FlipRecord[]) => {
    for (const each of flips) recordFlip(nodeDisk, roots, ID, each);
  };
  const read = () => readHistory(nodeDisk, roots, ID);

  beforeEach(() => {
    const root = tempDir();
    roots = { published: join(root, 'published'), state: join(root, 'state') };
    mkdirSync(dirname(file()), { recursive: true });
    mkdirSync(dirname(pivotPath(roots, ID)), { recursive: true });
  });
  afterEach(removeTempDirs);

  it('is empty before the first flip, then has one line per flip, oldest first', () => {
    expect(read()).to.deep.equal([]);
    record(flip(1), flip(2, ['a', 'b']), flip(3));
    expect(read()).to.deep.equal([flip(1), flip(2, ['a', 'b']), flip(3)]);
    expect(readFileSync(file(), 'utf8').split('\n')).to.have.length(4);
  });

  for (const [what, damage] of [
    ['a torn last line', '{"at":"2026'],
    ['an unrelated line', '[]\n'],
    ['lines that are no records', 'null\n{}\n{"at":"x","snapshot":"y"}\n\n'],
  ] as const) {
    it(`survives ${what}`, () => {
      record(flip(1));
      appendFileSync(file(), damage);
      record(flip(2));
      expect(read()).to.deep.equal([flip(1), flip(2)]);
    });
  }

  it('is truncated to its newest lines when it grows long', () => {
    const many = Array.from({ length: 3000 }, (_, n) => flip(n));
    writeFileSync(file(), many.map((each) => `${JSON.stringify(each)}\n`).join(''));
    const { size } = statSync(file());
    record(flip(5000));
    expect(statSync(file()).size).to.be.lessThan(size / 2);
    const kept = read();
    expect(kept.at(-1)).to.deep.equal(flip(5000));
    expect(kept.at(-2)).to.deep.equal(flip(2999));
    expect(kept.length).to.be.greaterThan(100);
  });

  it('is rewritten once in many flips, however long its lines are', () => {
    // 500 of these lines are more than the file may hold.
    const names = Array.from({ length: 12 }, (_, n) => `some/where/deep/repository-${n}`);
    let rewrites = 0;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb === 'rename' && paths.endsWith(file())) rewrites++;
    });
    for (let n = 0; n < 2000; n++) recordFlip(disk, roots, ID, flip(n, names));
    expect(statSync(file()).size).to.be.lessThan(300 * 1024);
    expect(rewrites).to.be.within(2, 40);
    const kept = read();
    // What was published lately is known by its drops, and of what came before when it was.
    expect(kept.at(-1)).to.deep.equal(flip(1999, names));
    expect(kept.slice(-40)).to.deep.equal(
      Array.from({ length: 40 }, (_, n) => flip(1960 + n, names)),
    );
    expect(kept.length).to.be.greaterThan(300);
    expect(kept[0]?.drops).to.deep.equal([]);
    const order = kept.map(({ snapshot }) => snapshot);
    expect(order).to.deep.equal([...order].sort());
  });

  it('keeps who made each flip when it is shortened, and drops the tags of old ones', () => {
    const names = Array.from({ length: 12 }, (_, n) => `some/where/deep/repository-${n}`);
    const tags = { added: { names: ['1.0'], count: 1 } };
    for (let n = 0; n < 1000; n++) record({ ...flip(n, names), by: ['ann'], tags });
    const kept = read();
    expect(new Set(kept.map(({ by }) => by?.join()))).to.deep.equal(new Set(['ann']));
    expect(kept.at(-1)?.tags).to.deep.equal(tags);
    expect(kept[0]).not.to.have.property('tags');
  });

  it('keeps the newest lines complete even when each exceeds the file limit', () => {
    const names = Array.from({ length: 6000 }, (_, n) => `repository-${n}`);
    for (let n = 0; n < 8; n++) record(flip(n, names));
    expect(read().slice(-4)).to.deep.equal([4, 5, 6, 7].map((n) => flip(n, names)));
    expect(read()).to.have.length(8);
  });

  it('keeps the recorded ages, separate from the flips, also when truncated', () => {
    const clock = { id: 'here', ms: 5 };
    const seen = (ms: number) => ({ clock: { id: 'here', ms }, ages: { x: ms } });
    record({ ...flip(1), clock });
    noteAges(nodeDisk, roots, ID, seen(10));
    noteAges(nodeDisk, roots, ID, seen(20));
    const whole = () => readFullHistory(nodeDisk, roots, ID);
    expect(whole()).to.deep.equal({ flips: [{ ...flip(1), clock }], sightings: [seen(20)] });
    const many = Array.from({ length: 3000 }, (_, n) => flip(n + 2));
    appendFileSync(file(), many.map((each) => `${JSON.stringify(each)}\n`).join(''));
    record(flip(5000));
    expect(whole().sightings).to.deep.equal([seen(20)]);
    expect(read().at(-1)).to.deep.equal(flip(5000));
  });

  it('propagates a disk error instead of reporting an empty history', () => {
    const disk = interfereWith(nodeDisk, (operation) => {
      if (operation.verb === 'open') throw systemError('EIO', operation);
    });
    expect(() => readHistory(disk, roots, ID)).to.throw('EIO');
  });

  describe('is repaired', () => {
    const point = (n: number) => {
      const { snapshot } = flip(n);
      symlinkSync(pivotTarget(ID, snapshot), pivotPath(roots, ID));
      return snapshot;
    };

    it('with the flip that a crash left unrecorded', () => {
      record(flip(1));
      const snapshot = point(2);
      expect(repairHistory(nodeDisk, roots, ID)).to.equal(true);
      expect(read().at(-1)).to.include({ snapshot, why: 'recovered' });
      expect(repairHistory(nodeDisk, roots, ID)).to.equal(false);
      expect(read()).to.have.length(2);
    });

    it('only when it is wrong and something is published', () => {
      expect(repairHistory(nodeDisk, roots, ID)).to.equal(false);
      record(flip(1));
      point(1);
      expect(repairHistory(nodeDisk, roots, ID)).to.equal(false);
      expect(read()).to.deep.equal([flip(1)]);
    });
  });
});
