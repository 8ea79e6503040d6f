/** The tag changes of a publish: added, moved and removed tags. */
import { expect } from 'chai';
import { diffTags } from '#src/repository/tag-diff.js';

const tags = (record: Record<string, string>) => new Map(Object.entries(record));

describe('the difference of two snapshots', () => {
  it('lists added, moved and removed tags, each sorted', () => {
    const before = tags({ same: 'a', moved: 'a', also: 'x', gone: 'b' });
    const after = tags({ same: 'a', new: 'c', moved: 'b', also: 'y' });
    expect(diffTags(before, after)).to.deep.equal({
      added: [{ tag: 'new', from: null, to: 'c' }],
      moved: [
        { tag: 'also', from: 'x', to: 'y' },
        { tag: 'moved', from: 'a', to: 'b' },
      ],
      removed: [{ tag: 'gone', from: 'b', to: null }],
    });
  });

  it('is empty for the same tags in another order, and complete for the first snapshot', () => {
    const one = tags({ a: '1', b: '2' });
    const nothing = { added: [], moved: [], removed: [] };
    expect(diffTags(one, tags({ b: '2', a: '1' }))).to.deep.equal(nothing);
    expect(diffTags(tags({}), one).added.map(({ tag }) => tag)).to.deep.equal(['a', 'b']);
    expect(diffTags(one, tags({})).removed).to.have.length(2);
  });
});
