import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { renderContent, unmovedTags } from '#src/repository/content-files.js';
import { convertAll } from '#src/repository/convert.js';
import {
  type RenderedFile,
  type RenderOptions,
  renderRedirectFile,
  renderSnapshot,
} from '#src/repository/render.js';
import type { RepositoryState } from '#src/repository/state.js';
import { layerBytes, sha256, TestContent } from '../support/make-image.js';
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
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };

describe('renderSnapshot', () => {
  let content: TestContent;

  beforeEach(() => {
    content = new TestContent();
  });
  afterEach(removeTempDirs);

  const stateOf = (...roots: Parameters<typeof staged>[1][number][]) =>
    dropped(nothing(), staged(content, roots)).state;
  const paths = (files: readonly RenderedFile[], below = '') =>
    files.map(({ path }) => path).filter((path) => path.startsWith(below));
  const text = (files: readonly RenderedFile[], path: string) => {
    const file = files.find((each) => each.path === path);
    return file && 'text' in file ? file.text : undefined;
  };
  const convert = (state: RepositoryState): RepositoryState => {
    const load = (digest: Digest) => content.blobs.get(digest) ?? Buffer.alloc(0);
    const wanted = [...state.tags.values()].map(({ digest }) => digest);
    const { made, conversions } = convertAll(wanted, new Map(), { ...state, load });
    const records = made.map(({ digest, record }) => [digest, record] as const);
    return { ...state, conversions, manifests: new Map([...state.manifests, ...records]) };
  };

  it('contains every blob once, every manifest by digest and by tag, and their description', () => {
    const image = content.image({ layers: ['one'], docker: true });
    const files = renderSnapshot(stateOf({ image, tag: 'a' }, { image, tag: 'b' }), OPTIONS);
    const config = [...content.blobs.keys()][0];
    expect(paths(files)).to.have.members([
      `blobs/${config}`,
      `blobs/${sha256(layerBytes('one'))}`,
      `manifests/2/${image.digest}`,
      'manifests/2/a',
      'manifests/2/b',
      'tags/list',
      '.snapshot.json',
      'team~app.json',
    ]);
    expect(paths(files).at(-1)).to.equal('team~app.json');
  });

  const kinds: readonly [string, boolean, boolean][] = [
    ['2', true, false],
    ['list', true, true],
    ['oci', false, false],
    ['oci-index', false, true],
  ];
  for (const [kind, docker, isIndex] of kinds) {
    it(`puts a manifest of its kind under manifests/${kind}`, () => {
      const child = content.image({ docker, platform: AMD64 });
      const image = isIndex ? content.index([child], docker) : child;
      const files = renderSnapshot(stateOf({ image, tag: 'a' }), OPTIONS);
      expect(paths(files, `manifests/${kind}/`)).to.include.members([
        `manifests/${kind}/a`,
        `manifests/${kind}/${image.digest}`,
      ]);
    });
  }

  it('records the content of each tag, so that its file can be kept', () => {
    const image = content.image();
    const files = renderSnapshot(stateOf({ image, tag: 'a' }), OPTIONS);
    expect(files.find(({ path }) => path === 'manifests/oci/a')).to.deep.equal({
      path: 'manifests/oci/a',
      tagged: image.digest,
      size: image.size,
    });
  });

  it('lists the tags in lexical order', () => {
    const image = content.image();
    const tags = ['b', 'a', 'B', '10', '9', '_'];
    const files = renderSnapshot(stateOf(...tags.map((tag) => ({ image, tag }))), OPTIONS);
    expect(text(files, 'tags/list')).to.equal(
      '{"name":"team/app","tags":["10","9","B","_","a","b"]}\n',
    );
  });

  it('produces the same files and text for the same content', () => {
    const children = [AMD64, ARM64].map((platform) =>
      content.image({ layers: [platform.architecture], platform }),
    );
    const roots = [
      { image: content.index(children), tag: 'a' },
      { image: content.image({ docker: true }), tag: 'b' },
      { image: content.image({ layers: ['c'] }), tag: '3' },
    ];
    const files = renderSnapshot(stateOf(...roots), OPTIONS);
    const reversed = renderSnapshot(stateOf(...[...roots].reverse()), OPTIONS);
    const byPath = (list: RenderedFile[]) =>
      Object.fromEntries(list.map((each) => [each.path, each]));
    expect(byPath(reversed)).to.deep.equal(byPath(files));
  });

  describe('what Crane serves for an OCI image', () => {
    const redirect = (state: RepositoryState, redirectOci: RenderOptions['redirectOci']) =>
      JSON.parse(renderRedirectFile(state, { ...OPTIONS, redirectOci })) as Record<string, unknown>;

    it('convert: its Docker form under the same tag, and the original by digest', () => {
      const image = content.image();
      const state = convert(stateOf({ image, tag: 'a' }));
      const files = renderSnapshot(state, OPTIONS);
      const [converted] = state.conversions.values();
      expect(paths(files, 'manifests/')).to.have.members([
        `manifests/oci/${image.digest}`,
        'manifests/oci/a',
        `manifests/2/${converted}`,
        'manifests/2/a',
      ]);
      expect(redirect(state, 'convert').schema2_data).to.have.members(['a', converted]);
    });

    it('passthrough: the original under manifests/1, Crane’s fallback for unknown types', () => {
      const image = content.image();
      const state = stateOf({ image, tag: 'a' });
      const files = renderSnapshot(state, { ...OPTIONS, redirectOci: 'passthrough' });
      expect(paths(files, 'manifests/')).to.have.members(
        ['oci', '1'].flatMap((kind) => [
          `manifests/${kind}/a`,
          `manifests/${kind}/${image.digest}`,
        ]),
      );
      expect(redirect(state, 'passthrough').schema2_data).to.deep.equal([]);
    });

    it('omit: nothing', () => {
      const state = stateOf({ image: content.image(), tag: 'a' });
      const files = renderSnapshot(state, { ...OPTIONS, redirectOci: 'omit' });
      expect(paths(files, 'manifests/2')).to.deep.equal([]);
      expect(paths(files, 'manifests/1')).to.deep.equal([]);
    });

    it('gives clients without list support the linux/amd64 image of a list', () => {
      const children = [ARM64, AMD64].map((platform) =>
        content.image({ docker: true, layers: [platform.architecture], platform }),
      );
      const state = stateOf({ image: content.index(children, true), tag: 'a' });
      expect(redirect(state, 'convert').manifest_list_amd64_tags).to.deep.equal({
        a: [children[1]?.digest, 2],
      });
    });

    it('names no linux/amd64 image that is missing from the drop', () => {
      const absent = new TestContent().image({ docker: true, platform: AMD64 });
      const here = content.image({ docker: true, layers: ['arm'], platform: ARM64 });
      const state = stateOf({ image: content.index([here, absent], true), tag: 'a' });
      expect(redirect(state, 'convert').manifest_list_amd64_tags).to.deep.equal({});
    });
  });

  describe('unmovedTags', () => {
    it('returns the tags with the same content at the same path', () => {
      const [one, two] = ['one', 'two'].map((layer) => content.image({ layers: [layer] }));
      if (one === undefined || two === undefined) throw new Error('no images');
      const base = stateOf({ image: one, tag: 'stays' }, { image: one, tag: 'moves' });
      const next = dropped(base, staged(content, [{ image: two, tag: 'moves' }])).state;
      const files = renderContent(next, OPTIONS.redirectOci);
      const kept = (redirectOci: RenderOptions['redirectOci']) =>
        [...unmovedTags(files, { state: base, redirectOci })].sort();
      expect(kept('convert')).to.deep.equal(['manifests/oci/stays']);
      expect([...unmovedTags(files, undefined)]).to.deep.equal([]);
    });
  });
});
