import { expect } from 'chai';
import { servesTheSame, settle } from '#src/repository/merge.js';
import type { RepositoryState } from '#src/repository/state.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { digest, dropped, grace, nothing, staged, tagsOf } from './drop-state.js';

describe('what a snapshot keeps for grace', () => {
  const START = 1_000_000;
  const GRACE = 1000;
  let content: TestContent;
  let state: RepositoryState;
  let images: Map<string, TestDescriptor>;
  /** Moves the tag to another image at a time. */
  const moveTo = (layer: string, nowMs: number, graceMs = GRACE) => {
    const image = content.image({ layers: [layer] });
    images.set(layer, image);
    state = dropped(state, staged(content, [{ image, tag: 'a' }]), { nowMs, graceMs }).state;
  };
  const serves = (layer: string) => {
    const image = images.get(layer);
    return image !== undefined && state.manifests.has(digest(image));
  };

  beforeEach(() => {
    content = new TestContent();
    images = new Map();
    state = nothing();
    moveTo('one', START);
  });
  afterEach(removeTempDirs);

  it('is the content of the previous one, by digest, until the grace period ends', () => {
    moveTo('two', START + 10);
    expect(serves('one')).to.equal(true);
    expect([...state.carried.values()]).to.deep.equal([START + 10]);
    moveTo('three', START + 9 + GRACE);
    expect(serves('one')).to.equal(true);
    moveTo('four', START + 10 + GRACE);
    expect(serves('one')).to.equal(false);
    expect(serves('two')).to.equal(true);
  });

  it('includes the layers, and expires with them', () => {
    moveTo('two', START);
    const layer = sha256(layerBytes('one'));
    const blobs = () => [...state.manifests.values()].flatMap((record) => record.blobs);
    expect(blobs().map((blob) => blob.digest)).to.include(layer);
    moveTo('three', START + GRACE);
    expect(blobs().map((blob) => blob.digest)).not.to.include(layer);
  });

  it('survives a clock that steps back', () => {
    moveTo('two', START);
    moveTo('three', START - 1_000_000_000);
    expect(serves('one')).to.equal(true);
    expect(serves('two')).to.equal(true);
  });

  it('ends for content that a tag references again', () => {
    moveTo('two', START);
    moveTo('one', START + 1);
    expect([...state.carried.keys()]).to.deep.equal([images.get('two')?.digest]);
  });

  it('is empty without a grace period', () => {
    moveTo('two', START, 0);
    expect(serves('one')).to.equal(false);
    expect(state.carried.size).to.equal(0);
  });

  it('does not restore a tag', () => {
    moveTo('two', START);
    expect(tagsOf(state)).to.deep.equal({ a: images.get('two')?.digest });
  });
});

describe('servesTheSame', () => {
  afterEach(removeTempDirs);
  const content = new TestContent();
  const image = content.image({ layers: ['one'] });
  const other = content.image({ layers: ['two'] });
  const state = () => dropped(nothing(), staged(content, [{ image, tag: 'a' }])).state;

  it('is true for the same drop at another time under another name', () => {
    const base = state();
    const again = staged(content, [{ image, tag: 'a' }]);
    const next = dropped(base, again, { nowMs: 5000, name: 'again' }).state;
    expect(servesTheSame(next, base)).to.equal(true);
  });

  const changes: readonly [string, { image: TestDescriptor; tag?: string }][] = [
    ['a new tag', { image, tag: 'b' }],
    ['a tag that moved', { image: other, tag: 'a' }],
    ['an image by digest only', { image: other }],
  ];
  for (const [what, root] of changes) {
    it(`is false for ${what}`, () => {
      const base = state();
      expect(servesTheSame(dropped(base, staged(content, [root])).state, base)).to.equal(false);
    });
  }

  it('is false for a conversion that was added, removed or changed', () => {
    const base = state();
    const convertedTo = (to: TestDescriptor | null): RepositoryState => ({
      ...base,
      conversions: new Map([[digest(image), to && digest(to)]]),
    });
    expect(servesTheSame(convertedTo(null), base)).to.equal(false);
    expect(servesTheSame(base, convertedTo(null))).to.equal(false);
    expect(servesTheSame(convertedTo(other), convertedTo(null))).to.equal(false);
    expect(servesTheSame(convertedTo(null), convertedTo(null))).to.equal(true);
  });

  it('is false when a layer that was left out is now present', () => {
    const base = state();
    const bare = [...base.manifests].map(
      ([key, record]) => [key, { ...record, blobs: [] }] as const,
    );
    expect(servesTheSame(base, { ...base, manifests: new Map(bare) })).to.equal(false);
  });

  it('ignores content that is only kept for grace', () => {
    const base = dropped(state(), staged(content, [{ image: other, tag: 'a' }])).state;
    const later = settle(base, base, grace(1_000_000, 1000));
    expect(base.carried.size).to.equal(1);
    expect(later.carried.size).to.equal(0);
    expect(servesTheSame(later, base)).to.equal(true);
  });
});
