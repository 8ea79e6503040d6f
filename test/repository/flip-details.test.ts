import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { Tag } from '#src/image/names.js';
import { changedTags, flipDetails } from '#src/repository/flip-details.js';
import type { Change } from '#src/repository/next-state.js';

const [OLD, NEW] = ['sha256:old' as Digest, 'sha256:new' as Digest];
const move = (tag: string, from: Digest | null, to: Digest | null) => ({
  tag: tag as Tag,
  from,
  to,
});

describe('the details of a flip', () => {
  const drops = ['ann', 'bob', 'ann', undefined, 'eve'].map((by, n) => ({
    origin: { drop: `app:${n}`, at: '20261101T000000.000Z' },
    by,
    content: undefined as never,
  }));
  const change: Change = { kind: 'publish', drops };
  const of = (taken: typeof drops) =>
    flipDetails(change, { why: 'publish', drops: taken.map(({ origin }) => origin) }, []).by;

  it('name each user whose drop was published once', () => {
    expect(of(drops.slice(0, 4))).to.deep.equal(['ann', 'bob']);
    expect(of(drops.slice(3, 4))).to.equal(undefined);
  });

  it('name the user of a command, and nobody for a cleaning', () => {
    const remove: Change = { kind: 'remove', by: 'ann' };
    expect(flipDetails(remove, { why: 'remove', drops: [] }, []).by).to.deep.equal(['ann']);
    expect(flipDetails({ kind: 'expire' }, { why: 'clean', drops: [] }, [])).to.deep.equal({
      tags: {},
    });
  });

  it('stay short, however many users and tags there are', () => {
    const many = Array.from({ length: 500 }, (_, n) => ({
      ...{ origin: { drop: `app:${n}`, at: 'T' }, by: `user${n}`, content: undefined as never },
    }));
    const reason = { why: 'publish', drops: many.map(({ origin }) => origin) } as const;
    const moves = many.map((_, n) => move(`tag-${n}`, null, NEW));
    const details = flipDetails({ kind: 'publish', drops: many }, reason, moves);
    expect(details.by).to.have.length(10);
    expect(details.tags?.added).to.deep.include({ count: 500 });
    expect(JSON.stringify(details).length).to.be.below(300);
  });

  it('tell added, moved and removed tags apart', () => {
    const moves = [move('a', null, NEW), move('b', OLD, NEW), move('c', OLD, null)];
    expect(changedTags(moves)).to.deep.equal({
      added: { names: ['a'], count: 1 },
      moved: { names: ['b'], count: 1 },
      removed: { names: ['c'], count: 1 },
    });
    expect(changedTags([])).to.deep.equal({});
  });
});
