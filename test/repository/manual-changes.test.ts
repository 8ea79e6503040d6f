import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { parseRepositoryId, parseRepositoryName, type Tag } from '#src/image/names.js';
import { removeAll, restore, untag } from '#src/repository/next-state.js';
import { emptyState, type ManifestRecord, type RepositoryState } from '#src/repository/state.js';

const digest = (letter: string) => `sha256:${letter.repeat(64)}` as Digest;
const record = (...blobs: string[]): ManifestRecord => ({
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  size: 10,
  blobs: blobs.map((each) => ({ digest: digest(each), size: 1 })),
  children: [],
});

function state(tag: string, manifests: Record<string, ManifestRecord>): RepositoryState {
  const from = { drop: 'app', at: '20261123T000000.000Z' as never };
  return {
    ...emptyState(parseRepositoryName('app'), parseRepositoryId('app')),
    tags: new Map([[tag as Tag, { digest: digest('a'), from }]]),
    manifests: new Map(Object.entries(manifests).map(([name, each]) => [digest(name), each])),
  };
}

describe('a manual change of a state', () => {
  it('restores tags, and keeps the form of each manifest with more of its blobs', () => {
    const now = state('new', { a: record('1', '2'), b: record('3') });
    const kept = state('old', { a: record('1'), c: record('4') });
    const restored = restore(now, kept);
    expect([...restored.tags.keys()]).to.deep.equal(['old']);
    expect([...restored.manifests]).to.have.deep.members([
      [digest('a'), record('1', '2')],
      [digest('b'), record('3')],
      [digest('c'), record('4')],
    ]);
    expect(restore(kept, now).manifests.get(digest('a'))).to.deep.equal(record('1', '2'));
  });

  it('restores a removed repository', () => {
    const there = state('1', { a: record('1') });
    expect(removeAll(there)).to.include({ removed: true });
    expect(restore(removeAll(there), there).removed).to.equal(undefined);
  });

  it('removes existing tags, and rejects others without changing anything', () => {
    const there = state('1', { a: record('1') });
    expect(untag(there, ['1']).tags.size).to.equal(0);
    expect(() => untag(there, ['1', '2'])).to.throw('no tag 2');
    expect(there.tags.size).to.equal(1);
  });
});
