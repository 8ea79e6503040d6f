/** A lookup returns exactly what the rendered files contain, name by name. */
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { Tag } from '#src/image/names.js';
import { convertAll } from '#src/repository/convert.js';
import { SnapshotLookup } from '#src/repository/lookup.js';
import { type RenderOptions, renderSnapshot } from '#src/repository/render.js';
import { serialiseSnapshot } from '#src/repository/snapshot-file.js';
import type { ManifestRecord, RepositoryState } from '#src/repository/state.js';
import { sha256, TestContent } from '../support/make-image.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { dropped, nothing, staged } from './drop-state.js';

const OPTIONS: RenderOptions = {
  snapshot: '20261123T152634.123Z',
  base: null,
  reason: { why: 'publish', drops: [] },
  freshTime: 1000,
  redirectOci: 'convert',
  urlTemplate: 'https://host/{id}/',
  protected: false,
};

/** In what is written of it. */
function lookupIn(state: RepositoryState): SnapshotLookup {
  return new SnapshotLookup(Buffer.from(serialiseSnapshot(state, OPTIONS)), 'it');
}

/** `manifests/oci/1 sha256:…` for each name a manifest has; texts by what they hash to. */
function renderedNames(state: RepositoryState): string[] {
  return renderSnapshot(state, OPTIONS).flatMap((file) => {
    if (!file.path.startsWith('manifests/')) return [];
    const stored =
      'text' in file ? sha256(file.text) : 'tagged' in file ? file.tagged : file.content;
    return [`${file.path} ${stored}`];
  });
}

function lookedUpNames(state: RepositoryState): string[] {
  const lookup = lookupIn(state);
  const names = new Set(renderedNames(state).map((line) => line.split(/[/ ]/)[2] ?? ''));
  return [...names].flatMap((name) =>
    lookup.forms(name as Tag | Digest).map((form) => {
      const stored = 'text' in form ? sha256(form.text) : form.stored;
      return `manifests/${form.kind}/${name} ${stored}`;
    }),
  );
}

describe('a lookup in a snapshot', () => {
  let content: TestContent;
  let state: RepositoryState;

  before(() => {
    content = new TestContent();
    const [amd64, arm64] = ['amd64', 'arm64'].map((architecture) =>
      content.image({ layers: ['base', architecture], platform: { os: 'linux', architecture } }),
    );
    if (!amd64 || !arm64) throw new Error('no images');
    const index = content.index([amd64, arm64]);
    const docker = content.image({ layers: ['one'], docker: true });
    const attached = content.image({ subject: index, artifactType: 'application/x.sbom' });
    const other = content.image({ subject: docker, artifactType: 'application/x.sbom' });
    const taken = `sha256-${docker.digest.slice(7)}`;
    const roots = [
      { image: index, tag: 'multi' },
      { image: amd64, tag: '1.0' },
      { image: docker, tag: 'docker' },
      { image: docker, tag: taken },
      { image: attached },
      { image: other },
    ];
    const plain = dropped(nothing(), staged(content, roots)).state;
    const load = (digest: Digest) => content.blobs.get(digest) ?? Buffer.alloc(0);
    const wanted = [...plain.tags.values()].map(({ digest }) => digest);
    const { made, conversions } = convertAll(wanted, new Map(), { ...plain, load });
    const records = made.map(({ digest, record }) => [digest, record] as const);
    // Signed Docker schema 1: named by its payload, stored with its signatures.
    const [old, stored] = [sha256('payload') as Digest, sha256('signed') as Digest];
    const mediaType = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    const signed: ManifestRecord = { mediaType, stored, size: 6, blobs: [], children: [] };
    const from = { drop: 'old', at: '20261123T152634.123Z' };
    state = {
      ...plain,
      conversions,
      tags: new Map([...plain.tags, ['old' as Tag, { digest: old, from }]]),
      manifests: new Map([...plain.manifests, ...records, [old, signed]]),
    };
  });
  after(removeTempDirs);

  it('finds every form under every name, as in the rendered files', () => {
    const rendered = renderedNames(state);
    expect(rendered.length).to.be.greaterThan(15);
    expect(lookedUpNames(state)).to.have.members(rendered);
  });

  it('returns the original before its Docker form, and finds each by its own digest', () => {
    const forms = lookupIn(state).forms('multi' as Tag);
    expect(forms.map(({ kind }) => kind)).to.deep.equal(['oci-index', 'list']);
    const [old] = lookupIn(state).forms('old' as Tag);
    if (old === undefined || 'text' in old) throw new Error('no schema 1');
    expect([old.digest, old.stored]).to.deep.equal([sha256('payload'), sha256('signed')]);
  });

  it('finds the blobs its manifests reference, with their sizes, and no others', () => {
    const lookup = lookupIn(state);
    const blobs = renderSnapshot(state, OPTIONS).filter(({ path }) => path.startsWith('blobs/'));
    expect(blobs.length).to.be.greaterThan(4);
    for (const file of blobs) {
      if (!('content' in file)) throw new Error('a blob is content');
      expect(lookup.blobSize(file.content)).to.equal(file.size);
    }
    for (const digest of state.manifests.keys())
      expect(lookup.blobSize(digest)).to.equal(undefined);
  });

  it('returns tags and referrers as rendered, and nothing for missing entries', () => {
    const lookup = lookupIn(state);
    const texts = new Map(
      renderSnapshot(state, OPTIONS).map((file) => [file.path, 'text' in file ? file.text : '']),
    );
    expect(lookup.tagsList()).to.equal(texts.get('tags/list'));
    const subjects = [...texts.keys()].filter((path) => path.startsWith('referrers/'));
    expect(subjects).to.have.length(2);
    for (const path of subjects) {
      expect(lookup.referrers(path.slice(10) as Digest)).to.equal(texts.get(path));
    }
    const nobody = sha256('nobody') as Digest;
    expect(lookup.referrers(nobody)).to.equal(undefined);
    expect([lookup.forms('none' as Tag), lookup.forms(nobody)]).to.deep.equal([[], []]);
  });
});
