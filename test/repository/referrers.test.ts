import { expect } from 'chai';
import { renderReferrers } from '#src/repository/referrers.js';
import { TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { digest, dropped, nothing, staged } from './drop-state.js';

describe('renderReferrers', () => {
  let content: TestContent;
  let image: TestDescriptor;

  beforeEach(() => {
    content = new TestContent();
    image = content.image();
  });
  afterEach(removeTempDirs);

  const referrers = (...attached: TestDescriptor[]) => {
    const roots = attached.map((each) => ({ image: each }));
    const { state } = dropped(nothing(), staged(content, [{ image, tag: 'a' }, ...roots]));
    const text = renderReferrers(state).get(digest(image));
    return text === undefined ? undefined : JSON.parse(text);
  };

  it('returns nothing for an image without referrers', () => {
    expect(referrers()).to.equal(undefined);
  });

  it('returns an index of descriptors in digest order', () => {
    const attached = ['one', 'two', 'three'].map((layer) =>
      content.image({
        layers: [layer],
        subject: image,
        artifactType: 'application/vnd.example',
        annotations: { layer },
      }),
    );
    const { manifests, ...head } = referrers(...attached);
    expect(head).to.deep.equal({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
    });
    const digests = manifests.map((each: TestDescriptor) => each.digest);
    expect(digests).to.deep.equal(attached.map((each) => each.digest).sort());
    expect(
      manifests.find((each: TestDescriptor) => each.digest === attached[0]?.digest),
    ).to.deep.equal({
      mediaType: attached[0]?.mediaType,
      digest: attached[0]?.digest,
      size: attached[0]?.size,
      artifactType: 'application/vnd.example',
      annotations: { layer: 'one' },
    });
  });

  it('uses the config type of referrers without an artifact type', () => {
    const configType = 'application/vnd.dev.cosign.simplesigning.v1+json';
    const { manifests } = referrers(content.image({ layers: ['sig'], subject: image, configType }));
    expect(manifests[0]?.artifactType).to.equal(configType);
  });

  it('returns referrers of an image that has not been dropped yet', () => {
    const subject = new TestContent().image({ layers: ['later'] });
    const signature = content.image({ layers: ['sig'], subject });
    const { state } = dropped(nothing(), staged(content, [{ image: signature }]));
    expect([...renderReferrers(state).keys()]).to.deep.equal([subject.digest]);
  });

  it('omits content that is only kept for running pulls', () => {
    const signature = content.image({ layers: ['sig'], subject: image });
    const signed = [{ image, tag: 'a' }, { image: signature }];
    const before = dropped(nothing(), staged(content, signed)).state;
    const other = content.image({ layers: ['other'] });
    const { state } = dropped(before, staged(content, [{ image: other, tag: 'a' }]));
    expect(state.manifests.has(digest(signature))).to.equal(true);
    expect(renderReferrers(state).size).to.equal(0);
  });
});
