/** Tags are shown by version, in the command line and on the page. */
import { expect } from 'chai';
import { sortByTag } from '#src/image/tag-order.js';

describe('the order of tags', () => {
  const sortTags = (tags: readonly string[]) => sortByTag(tags, (tag) => tag);
  const sorted = (...tags: string[]) => {
    for (const given of [tags, [...tags].reverse(), [...tags].sort()]) {
      expect(sortTags(given)).to.deep.equal(tags);
    }
  };

  it('has latest first, and 1.10 after 1.9', () => {
    sorted('latest', '1.2', '1.9', '1.9.1', '1.10', '1.10.3', '2.0', '10.0');
    sorted('latest', 'v1.9', 'v1.10');
    sorted('20261129', '20261130', '99999999999999999998', '99999999999999999999');
  });

  it('has a pre-release before its release, and a variant after it', () => {
    sorted('1.0-alpha.1', '1.0-rc1', '1.0-rc2', '1.0-rc10', '1.0', '1.0-alpine', '1.0.1', '1.1');
    sorted('2.0.0-beta.2', '2.0.0', '2.0.0-preserve');
  });

  it('is the same for every order given, also for tags of other kinds', () => {
    sorted('1.0', 'Main', '__proto__', 'main', 'main-7', 'main-12', 'stable');
    sorted('1.01', '1.1', '1.001.2');
    expect(sortTags([])).to.deep.equal([]);
  });
});
