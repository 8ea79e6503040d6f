import { expect } from 'chai';
import { LAYERS_MAX, MANIFEST_BYTES_MAX } from '#src/image/limits.js';
import { parseLayoutIndex, parseManifest, platformName } from '#src/image/manifest.js';
import {
  dockerLayerType,
  isForeignLayer,
  MEDIA_TYPES,
  manifestKind,
  manifestMediaType,
} from '#src/image/media-types.js';
import { sha256, TestContent } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';

const parse = (document: object, expected?: string) =>
  parseManifest(Buffer.from(JSON.stringify(document)), expected, 'here');
const DESCRIPTOR = { mediaType: 'application/octet-stream', digest: sha256('x'), size: 1 };
const IMAGE = { schemaVersion: 2, config: DESCRIPTOR, layers: [DESCRIPTOR] };

describe('parseManifest', () => {
  const made = new TestContent();
  const kinds: readonly [string, ReturnType<TestContent['image']>][] = [
    ['oci', made.image()],
    ['2', made.image({ docker: true })],
    ['oci-index', made.index([made.image()])],
    ['list', made.index([made.image({ docker: true })], true)],
  ];
  for (const [kind, image] of kinds) {
    it(`reads a manifest of kind ${kind}`, () => {
      const bytes = made.blobs.get(image.digest) ?? Buffer.alloc(0);
      const manifest = parseManifest(bytes, image.mediaType, 'here');
      expect(manifest).to.include({ kind, mediaType: image.mediaType });
      expect(manifest.manifests.length + manifest.layers.length).to.equal(1);
    });
  }

  it('keeps its annotations and artifact type', () => {
    const manifest = parse({
      ...IMAGE,
      mediaType: MEDIA_TYPES.ociManifest,
      artifactType: 'application/x',
      annotations: { a: 'b' },
      subject: DESCRIPTOR,
    });
    expect(manifest.artifactType).to.equal('application/x');
    expect(manifest.annotations).to.deep.equal({ a: 'b' });
    expect(manifest.subject?.digest).to.equal(DESCRIPTOR.digest);
  });

  it('accepts null for optional fields, as Go programs write it', () => {
    const config = { ...DESCRIPTOR, annotations: null, urls: null, platform: null };
    const manifest = parse({ ...IMAGE, config, annotations: null, subject: null });
    expect(manifest.config?.annotations).to.equal(undefined);
    expect(manifest.subject).to.equal(undefined);
  });

  for (const [what, list] of [
    ['null', { manifests: null }],
    ['nothing', {}],
    ['an empty list', { manifests: [] }],
  ] as const) {
    it(`reads ${what} as an empty index`, () => {
      const index = parse({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, ...list });
      expect(index).to.deep.include({ kind: 'oci-index', manifests: [] });
      expect(parseLayoutIndex({ schemaVersion: 2, ...list }, 'index.json')).to.deep.equal([]);
    });
  }

  it('accepts null for an image without layers', () => {
    expect(parse({ ...IMAGE, layers: null }).layers).to.deep.equal([]);
  });

  describe('determines the media type', () => {
    const shapes: readonly [string, object, string | undefined, string][] = [
      ['from itself', { ...IMAGE, mediaType: MEDIA_TYPES.docker2 }, undefined, MEDIA_TYPES.docker2],
      ['from its descriptor', IMAGE, MEDIA_TYPES.docker2, MEDIA_TYPES.docker2],
      ['from its layers', IMAGE, undefined, MEDIA_TYPES.ociManifest],
      ['from its list', { manifests: [] }, undefined, MEDIA_TYPES.ociIndex],
    ];
    for (const [where, document, expected, mediaType] of shapes) {
      it(where, () => {
        expect(parse(document, expected).mediaType).to.equal(mediaType);
      });
    }

    it('and rejects contradicting media types: manifest.type-mismatch', () => {
      const document = { ...IMAGE, mediaType: MEDIA_TYPES.docker2 };
      const error = refusal(() => parse(document, MEDIA_TYPES.ociManifest));
      expect(error.code).to.equal('manifest.type-mismatch');
      expect(error.details).to.include({
        mediaType: MEDIA_TYPES.docker2,
        expected: MEDIA_TYPES.ociManifest,
      });
    });
  });

  const refused: readonly [string, object, string][] = [
    ['Docker schema 1 without layers', { mediaType: MEDIA_TYPES.docker1signed }, 'json.invalid'],
    ['an unknown type', { ...IMAGE, mediaType: 'text/plain' }, 'manifest.unsupported'],
    ['a list', [], 'json.invalid'],
    ['a non-string type', { ...IMAGE, mediaType: 1 }, 'json.invalid'],
    [
      'an index with an invalid list',
      { mediaType: MEDIA_TYPES.ociIndex, manifests: 'all' },
      'json.invalid',
    ],
    [
      'too many layers',
      { ...IMAGE, layers: Array(LAYERS_MAX + 1).fill(DESCRIPTOR) },
      'json.invalid',
    ],
    ['an invalid subject', { ...IMAGE, subject: 'sha256:x' }, 'json.invalid'],
    ['annotations that are a list', { ...IMAGE, annotations: ['x'] }, 'json.invalid'],
    ['a bad digest', { ...IMAGE, config: { ...DESCRIPTOR, digest: 'sha256:x' } }, 'digest.invalid'],
    ['a huge size', { ...IMAGE, config: { ...DESCRIPTOR, size: 2 ** 60 } }, 'json.invalid'],
  ];
  for (const [what, document, code] of refused) {
    it(`rejects ${what}: ${code}`, () => {
      expect(refusal(() => parse(document)).code).to.equal(code);
    });
  }

  describe('rejects ambiguous manifests: manifest.ambiguous', () => {
    const fsLayers = [{ blobSum: DESCRIPTOR.digest }];
    const schema1 = { schemaVersion: 1, fsLayers, history: [] };
    const types = [
      undefined,
      MEDIA_TYPES.ociManifest,
      MEDIA_TYPES.ociIndex,
      MEDIA_TYPES.docker2,
      MEDIA_TYPES.dockerList,
      MEDIA_TYPES.docker1,
    ];
    const both: Record<string, object> = {
      'an image and an index': { ...IMAGE, manifests: [DESCRIPTOR] },
      'an image and an empty index': { ...IMAGE, manifests: [] },
      'an image and an index that is null': { ...IMAGE, manifests: null },
      'an index with a config': { manifests: [DESCRIPTOR], config: DESCRIPTOR },
      'an index with layers': { manifests: [DESCRIPTOR], layers: [] },
      'an image with the layers of schema 1': { ...IMAGE, fsLayers },
      'an image with the history of schema 1': { ...IMAGE, history: [] },
      'an image of version 1': { ...IMAGE, schemaVersion: 1 },
      'an index with the layers of schema 1': { manifests: [DESCRIPTOR], fsLayers },
    };
    for (const [what, document] of Object.entries(both)) {
      it(`${what}, whatever its own or announced media type`, () => {
        for (const type of types) {
          expect(refusal(() => parse(document, type)).code).to.equal('manifest.ambiguous');
          const own = { ...document, ...(type && { mediaType: type }) };
          expect(refusal(() => parse(own)).code).to.equal('manifest.ambiguous');
        }
      });
    }

    const other: readonly [string, object, readonly string[]][] = [
      [
        'an image',
        IMAGE,
        [
          MEDIA_TYPES.ociIndex,
          MEDIA_TYPES.dockerList,
          MEDIA_TYPES.docker1,
          MEDIA_TYPES.docker1signed,
        ],
      ],
      [
        'an index',
        { manifests: [DESCRIPTOR] },
        [MEDIA_TYPES.ociManifest, MEDIA_TYPES.docker2, MEDIA_TYPES.docker1],
      ],
      [
        'schema 1',
        schema1,
        [
          MEDIA_TYPES.ociManifest,
          MEDIA_TYPES.docker2,
          MEDIA_TYPES.ociIndex,
          MEDIA_TYPES.docker1signed,
        ],
      ],
      ['signed schema 1', { ...schema1, signatures: [{ protected: 'x' }] }, [MEDIA_TYPES.docker1]],
    ];
    for (const [what, document, announced] of other) {
      it(`${what} that is announced as, or declares, something else`, () => {
        expect(() => parse(document)).not.to.throw();
        for (const mediaType of announced) {
          expect(refusal(() => parse(document, mediaType)).code).to.equal('manifest.ambiguous');
          const own = { ...document, mediaType };
          expect(refusal(() => parse(own)).code).to.equal('manifest.ambiguous');
        }
      });
    }

    const text = JSON.stringify({ ...IMAGE, annotations: { Digest: 'a', digest: 'b' } });
    const spelled: Record<string, string> = {
      'a duplicate member': text.replace('{', '{"layers":[],'),
      'a duplicate member, once escaped': text.replace('{', '{"\\u006cayers":[],'),
      'a duplicate member in a descriptor': text.replaceAll('"size":1', '"size":2,"size":1'),
      'a duplicate member in another case': text.replace('{', '{"Layers":[],'),
      'a member in another case only': text.replace('"config"', '"CONFIG"'),
      'a member with a long s, which Go reads as an s': text.replace('{', '{"layer\u017f":[],'),
      'a descriptor with a Digest': text.replace('"digest"', '"Digest":"x","digest"'),
      'a member of an index in another case': text.replace('{', '{"Manifests":[],'),
    };
    for (const [what, body] of Object.entries(spelled)) {
      it(what, () => {
        const read = () => parseManifest(Buffer.from(body), undefined, 'here');
        expect(JSON.parse(body), 'it is JSON').to.be.an('object');
        expect(refusal(read).code).to.equal('manifest.ambiguous');
      });
    }

    it('and accepts any annotation names and unknown members', () => {
      const document = { ...JSON.parse(text), Extension: { Size: 1, size: 2 }, signatures: 'none' };
      expect(parse(document).annotations).to.deep.equal({ Digest: 'a', digest: 'b' });
    });
  });

  it('rejects manifests over 4 MiB: json.too-large', () => {
    const bytes = Buffer.alloc(MANIFEST_BYTES_MAX + 1, ' ');
    expect(refusal(() => parseManifest(bytes, undefined, 'here')).code).to.equal('json.too-large');
  });
});

describe('parseLayoutIndex', () => {
  it('keeps annotations with any names', () => {
    const annotations = { constructor: 'a', prototype: 'b', toString: 'c' };
    expect(parse({ ...IMAGE, annotations }).annotations).to.deep.equal(annotations);
  });

  it('accepts any entry of a layout index, and rejects a value that is not a list: json.invalid', () => {
    const [read] = parseLayoutIndex({ manifests: [DESCRIPTOR] }, 'index.json');
    expect(read).to.include(DESCRIPTOR);
    const document = { manifests: { 0: DESCRIPTOR } };
    expect(refusal(() => parseLayoutIndex(document, 'index.json')).code).to.equal('json.invalid');
  });
});

describe('media types', () => {
  it('map to the kind of every manifest and of nothing else', () => {
    expect(manifestKind(MEDIA_TYPES.docker1)).to.equal('1');
    expect(manifestKind(MEDIA_TYPES.ociConfig)).to.equal(undefined);
    expect(manifestKind('constructor')).to.equal(undefined);
  });

  it('distinguish an index with a null list from an image', () => {
    const typeOf = (document: object) =>
      manifestMediaType('1', Buffer.from(JSON.stringify({ schemaVersion: 2, ...document })));
    expect(typeOf({ manifests: null })).to.equal(MEDIA_TYPES.ociIndex);
    expect(typeOf({ layers: [] })).to.equal(MEDIA_TYPES.ociManifest);
  });

  const layers: readonly [string, string | undefined, boolean][] = [
    ['vnd.oci.image.layer.v1.tar', 'vnd.docker.image.rootfs.diff.tar', false],
    ['vnd.oci.image.layer.v1.tar+gzip', 'vnd.docker.image.rootfs.diff.tar.gzip', false],
    ['vnd.oci.image.layer.v1.tar+zstd', undefined, false],
    [
      'vnd.oci.image.layer.nondistributable.v1.tar+gzip',
      'vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      true,
    ],
    [
      'vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      'vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      true,
    ],
    ['vnd.oci.image.layer.v1.tar+gzip+encrypted', undefined, false],
  ];
  for (const [layer, docker, foreign] of layers) {
    it(`map ${layer} to ${docker ?? 'nothing'} for Docker`, () => {
      const expected = docker && `application/${docker}`;
      expect(dockerLayerType(`application/${layer}`)).to.equal(expected);
      expect(isForeignLayer(`application/${layer}`)).to.equal(foreign);
    });
  }
});

describe('platformName', () => {
  it('is os/architecture, plus the variant if there is one', () => {
    const platform = { os: 'linux', architecture: 'arm64' };
    expect(platformName(platform)).to.equal('linux/arm64');
    expect(platformName({ ...platform, variant: 'v8' })).to.equal('linux/arm64/v8');
    expect(platformName(undefined)).to.equal(undefined);
  });
});
