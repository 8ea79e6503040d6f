import { expect } from 'chai';
import { applyDrop, liveManifests } from '#src/repository/merge.js';
import type { RepositoryState } from '#src/repository/state.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { digest, dropped, MERGE, nothing, REPLACE, staged, tag, tagsOf } from './drop-state.js';

const ORIGIN = { drop: 'drop', at: '20261123T152634.123Z' };

describe('merging a drop', () => {
  let content: TestContent;
  let one: TestDescriptor;
  let two: TestDescriptor;
  const drop = (...roots: { image: TestDescriptor; tag?: string }[]) => staged(content, roots);

  beforeEach(() => {
    content = new TestContent();
    [one, two] = ['one', 'two'].map((layer) => content.image({ layers: [layer] })) as [
      TestDescriptor,
      TestDescriptor,
    ];
  });
  afterEach(removeTempDirs);

  it('adds tags, and keeps the others', () => {
    const first = dropped(nothing(), drop({ image: one, tag: 'a' })).state;
    const { state, moves } = dropped(first, drop({ image: two, tag: 'b' }));
    expect(tagsOf(state)).to.deep.equal({ a: one.digest, b: two.digest });
    expect(moves).to.deep.equal([{ tag: 'b', from: null, to: two.digest }]);
  });

  it('moves a tag and reports its old and new digest', () => {
    const first = dropped(nothing(), drop({ image: one, tag: 'a' })).state;
    const { state, moves } = dropped(first, drop({ image: two, tag: 'a' }));
    expect(tagsOf(state)).to.deep.equal({ a: two.digest });
    expect(moves).to.deep.equal([{ tag: 'a', from: one.digest, to: two.digest }]);
  });

  it('moves nothing when the same image is dropped again, and keeps its origin', () => {
    const first = dropped(nothing(), drop({ image: one, tag: 'a' }), { name: 'first' }).state;
    const again = dropped(first, drop({ image: one, tag: 'a' }), { name: 'second' });
    expect(again.moves).to.deep.equal([]);
    expect(again.state.tags.get(tag('a'))?.from.drop).to.equal('first');
  });

  it('lists moves in tag order', () => {
    const roots = ['c', 'a', 'b'].map((name) => ({ image: one, tag: name }));
    const { moves } = dropped(nothing(), drop(...roots));
    expect(moves.map((move) => move.tag)).to.deep.equal(['a', 'b', 'c']);
  });

  it('replaces everything in replace mode', () => {
    const before = dropped(
      nothing(),
      drop({ image: one, tag: 'a' }, { image: two, tag: 'b' }, { image: two }),
    ).state;
    const { state, moves } = dropped(before, drop({ image: one, tag: 'c' }), { policy: REPLACE });
    expect(tagsOf(state)).to.deep.equal({ c: one.digest });
    expect(state.untagged.size).to.equal(0);
    expect(moves).to.deep.equal([
      { tag: 'a', from: one.digest, to: null },
      { tag: 'b', from: two.digest, to: null },
      { tag: 'c', from: null, to: one.digest },
    ]);
  });

  it('keeps an image without a tag by its digest', () => {
    const { state } = dropped(nothing(), drop({ image: one }));
    expect([...state.untagged.keys()]).to.deep.equal([one.digest]);
    expect(state.manifests.has(digest(one))).to.equal(true);
  });

  it('keeps the record of a manifest that is dropped again, and adds what was left out, in order', () => {
    const layerType = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
    const foreign = content.image({ layers: ['a', 'b', 'c'], layerType });
    const whole = new Map(content.blobs);
    const [b] = [...whole.keys()].filter((each) => each === sha256(layerBytes('b')));
    content.blobs.delete(b ?? '');
    const first = dropped(nothing(), drop({ image: foreign, tag: 'a' })).state;
    const again = dropped(first, drop({ image: foreign, tag: 'b' })).state;
    expect(again.manifests.get(digest(foreign))).to.equal(first.manifests.get(digest(foreign)));
    for (const [name, bytes] of whole) content.blobs.set(name, bytes);
    const later = dropped(again, drop({ image: foreign, tag: 'a' })).state;
    const names = later.manifests.get(digest(foreign))?.blobs.map((blob) => blob.digest);
    const manifest = JSON.parse(String(content.blobs.get(foreign.digest)));
    expect(names).to.deep.equal(
      [manifest.config, ...manifest.layers].map((each: TestDescriptor) => each.digest),
    );
    // And a drop that is without it takes nothing away.
    content.blobs.delete(b ?? '');
    const fewer = dropped(later, drop({ image: foreign, tag: 'c' })).state;
    expect(fewer.manifests.get(digest(foreign))).to.equal(later.manifests.get(digest(foreign)));
  });

  it('rejects a digest known as another kind, wherever the first is: manifest.ambiguous', () => {
    const body = JSON.parse(String(content.blobs.get(one.digest)));
    const bare = content.add(JSON.stringify({ ...body, mediaType: undefined }), one.mediaType);
    const other = {
      ...bare,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    };
    const refused = (state: RepositoryState) =>
      refusal(() => applyDrop(state, drop({ image: other }), ORIGIN, MERGE)).code;
    const tagged = dropped(nothing(), drop({ image: bare, tag: 'a' })).state;
    const untagged = dropped(nothing(), drop({ image: bare })).state;
    const carried = dropped(tagged, drop({ image: two, tag: 'a' })).state;
    expect(carried.carried.has(digest(bare))).to.equal(true);
    for (const state of [tagged, untagged, carried]) {
      expect(refused(state)).to.equal('manifest.ambiguous');
    }
    // When it is forgotten, it is new.
    const over = dropped(carried, drop({ image: two, tag: 'b' }), { nowMs: 10_000 }).state;
    expect(over.manifests.has(digest(bare))).to.equal(false);
    expect(
      dropped(over, drop({ image: other })).state.manifests.get(digest(bare))?.mediaType,
    ).to.equal(other.mediaType);
  });

  it('modifies neither the state nor the drop passed to it', () => {
    const first = dropped(nothing(), drop({ image: one, tag: 'a' })).state;
    const copy = structuredClone(first);
    dropped(first, drop({ image: two, tag: 'a' }));
    expect(first).to.deep.equal(copy);
  });

  describe('immutable tags', () => {
    const policy = { ...MERGE, isImmutable: (name: string) => name.startsWith('v') };

    it('may be created, and dropped again unchanged', () => {
      const first = dropped(nothing(), drop({ image: one, tag: 'v1' }), { policy }).state;
      const again = dropped(first, drop({ image: one, tag: 'v1' }, { image: two, tag: 'b' }), {
        policy,
      });
      expect(tagsOf(again.state)).to.deep.equal({ v1: one.digest, b: two.digest });
    });

    it('may not be moved: tag.immutable', () => {
      const first = dropped(nothing(), drop({ image: one, tag: 'v1' }), { policy }).state;
      const error = refusal(() =>
        applyDrop(first, drop({ image: two, tag: 'v1' }), ORIGIN, policy),
      );
      expect(error.code).to.equal('tag.immutable');
      expect(error.details).to.deep.equal({ path: 'v1', digest: one.digest });
      expect(error.message).to.include(two.digest);
    });

    it('may not be removed by a drop that replaces everything: tag.immutable', () => {
      const first = dropped(nothing(), drop({ image: one, tag: 'v1' }), { policy }).state;
      const replace = { ...policy, mode: 'replace' as const };
      const error = refusal(() =>
        applyDrop(first, drop({ image: two, tag: 'b' }), ORIGIN, replace),
      );
      expect(error.code).to.equal('tag.immutable');
    });
  });

  describe('content attached to an image', () => {
    let signature: TestDescriptor;
    let endorsement: TestDescriptor;
    let signed: RepositoryState;

    beforeEach(() => {
      signature = content.image({ layers: ['sig'], subject: one });
      endorsement = content.image({ layers: ['sig of sig'], subject: signature });
      signed = dropped(
        nothing(),
        drop({ image: one, tag: 'a' }, { image: signature }, { image: endorsement }),
      ).state;
    });

    it('stays as long as the image does', () => {
      const { state } = dropped(signed, drop({ image: two, tag: 'b' }));
      expect([...state.untagged.keys()]).to.have.members([signature.digest, endorsement.digest]);
    });

    it('is removed with it, including what is attached to that content', () => {
      const { state } = dropped(signed, drop({ image: two, tag: 'a' }));
      expect(state.untagged.size).to.equal(0);
      expect([...liveManifests(state)]).to.deep.equal([two.digest]);
    });

    it('waits for an image that has not been dropped yet', () => {
      const early = dropped(nothing(), drop({ image: signature })).state;
      const { state } = dropped(early, drop({ image: two, tag: 'b' }));
      expect([...state.untagged.keys()]).to.deep.equal([signature.digest]);
    });

    it('stays when it has a tag of its own', () => {
      const tagged = dropped(signed, drop({ image: signature, tag: 'sig' })).state;
      const { state } = dropped(tagged, drop({ image: two, tag: 'a' }));
      expect(tagsOf(state)).to.include({ sig: signature.digest });
    });
  });
});
