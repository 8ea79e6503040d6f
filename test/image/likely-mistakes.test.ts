/** What a drop was named, and what its uploader probably meant. */
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { likelyMistakes } from '#src/image/likely-mistakes.js';
import { parseManifest } from '#src/image/manifest.js';
import { archiveTag, parseRepositoryName, parseTag } from '#src/image/names.js';
import { TestContent, type TestDescriptor } from '../support/make-image.js';

describe('archiveTag', () => {
  const meant = ['1.0.tar', '1.0.tar.gz', '1.0.tgz', '1.0.tar.zst', '1.0.tar.xz', '1.0.TAR'];
  for (const tag of meant) {
    it(`takes ${tag} for 1.0`, () => expect(archiveTag(tag)).to.equal('1.0'));
  }
  for (const tag of ['1.0', '1.0.oci', '1.0.docker', 'tar', '.tar', 'star', '1.0-tar']) {
    it(`takes ${tag} as it is`, () => expect(archiveTag(tag)).to.equal(undefined));
  }
});

describe('likelyMistakes', () => {
  const content = new TestContent();
  const image = content.image();
  const repository = parseRepositoryName('team/app');

  function mistakes(
    of: TestDescriptor,
    { tags = [], names = [] }: { readonly tags?: string[]; readonly names?: string[] },
  ): string[] {
    const bytes = content.blobs.get(of.digest) ?? Buffer.of();
    const digest = of.digest as Digest;
    return likelyMistakes(repository, {
      roots: [{ digest, tags: tags.map(parseTag), names }],
      manifests: [
        {
          digest,
          size: of.size,
          bytes,
          manifest: parseManifest(bytes, undefined, digest),
        },
      ],
      blobs: [],
      leftOut: [],
      warnings: [],
    });
  }

  it('finds none in an image with a tag', () => {
    expect(mistakes(image, { tags: ['1.0'], names: ['registry.example/app:1.0'] })).to.deep.equal(
      [],
    );
  });

  it('says how to drop an image without a tag', () => {
    const [only = '', ...others] = mistakes(image, {});
    expect(others).to.deep.equal([]);
    expect(only)
      .to.contain(image.digest)
      .and.to.contain('inbox/team/app:TAG or inbox/team/app=TAG.tar');
  });

  it('expects no tag of what is attached to an image', () => {
    const signature = content.image({ layers: ['signature'], subject: image });
    expect(mistakes(signature, {})).to.deep.equal([]);
  });

  it('says what skopeo makes of oci-archive:inbox/team/app:1.0.tar', () => {
    expect(mistakes(image, { tags: ['1.0.tar'], names: ['1.0.tar'] }).join())
      .to.contain('oci-archive:inbox/team/app=1.0.tar')
      .and.to.contain('dropdock untag team/app 1.0.tar');
  });

  it('says what skopeo makes of docker-archive:inbox/team/app:1.0.tar', () => {
    const names = ['docker.io/library/1.0.tar:latest'];
    expect(mistakes(image, { tags: ['latest'], names }).join())
      .to.contain('team/app:1.0,')
      .and.to.contain('docker-archive:inbox/team/app=1.0.tar');
  });
});
