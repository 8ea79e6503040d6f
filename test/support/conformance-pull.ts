/** Conformance: the base endpoint, pulling manifests and blobs, and existence checks. */
import { expect } from 'chai';
import { readByteRanges } from './byte-ranges.js';
import type { Requirement } from './conformance-requests.js';
import { LONG_TAG, NAME, ODD_NAME, type World } from './conformance-world.js';
import { sha256 } from './make-image.js';

export const ABSENT = sha256('what nobody has');
const BLOB_RANGE = 'bytes=2-4';

export const manifest = (reference: string, name = NAME) => `/v2/${name}/manifests/${reference}`;
export const blob = (digest: string, name = NAME) => `/v2/${name}/blobs/${digest}`;

/** Asks for each image by its tag and by its digest, in its own form. */
async function eachManifest(
  world: World,
  check: (path: string, accept: { accept: string }, digest: string, type: string) => Promise<void>,
): Promise<void> {
  for (const [tag, { digest, mediaType }] of Object.entries(world.images)) {
    for (const reference of [tag, digest]) {
      await check(manifest(reference), { accept: mediaType }, digest, mediaType);
    }
  }
}

/** What is absent: a manifest by tag and by digest, a blob, and all of them in an absent repository. */
export const ABSENT_PATHS = [manifest('absent'), manifest(ABSENT), blob(ABSENT)].concat(
  manifest('oci', 'nobody'),
  blob(ABSENT, 'nobody'),
);

export const PULL: readonly Requirement[] = [
  {
    id: 'B1',
    end: 'end-1',
    level: 'MUST',
    check: async (registry) => {
      expect((await registry.get('/v2/')).status).to.equal(200);
    },
  },
  {
    id: 'P1',
    end: 'end-3',
    level: 'MUST',
    check: async (registry, world) =>
      eachManifest(world, async (path, accept, digest) => {
        const { status, body } = await registry.get(path, accept);
        expect([status, sha256(body)], path).to.deep.equal([200, digest]);
      }),
  },
  {
    id: 'P2',
    end: 'end-3',
    level: 'MUST',
    check: async (registry, { images }) => {
      const { digest, mediaType: accept } = images.oci;
      const named = ['1', digest].map((reference) => manifest(reference, ODD_NAME));
      for (const path of [...named, manifest(LONG_TAG), manifest('Upper')]) {
        expect((await registry.get(path, { accept })).status, path).to.equal(200);
      }
    },
  },
  {
    id: 'P3',
    end: 'end-3',
    level: 'MUST',
    check: async (registry) => {
      for (const name of ['Team/app', '_team', 'team..app', 'team//app', 'team/app_']) {
        expect((await registry.get(manifest('1', name))).status, name).to.be.oneOf([400, 404]);
      }
      for (const reference of ['.1', '-1', 'a'.repeat(129), 'sha256:1', `md5:${'0'.repeat(32)}`]) {
        expect((await registry.get(manifest(reference))).status).to.be.oneOf([400, 404]);
      }
    },
    docker: 'a malformed digest is 500; an empty component of a name is redirected away',
  },
  {
    id: 'P4',
    end: 'end-3',
    level: 'SHOULD',
    check: async (registry, world) =>
      eachManifest(world, async (path, accept, _digest, type) => {
        const { headers, json } = await registry.get(path, accept);
        expect(headers['content-type'], path).to.equal(type);
        expect(json).to.include({ mediaType: type });
      }),
  },
  {
    id: 'P5',
    end: 'end-3',
    level: 'SHOULD',
    check: async (registry, world) => {
      for (const [tag, { digest, mediaType }] of Object.entries(world.images)) {
        for (const headers of [{}, { accept: '*/*' }]) {
          const got = (await registry.get(manifest(tag), headers)).headers;
          expect(got['content-type'], tag).to.equal(mediaType);
          expect(got['docker-content-digest']).to.equal(digest);
        }
      }
    },
    docker: 'whoever names no type gets no OCI image (404), and a Docker one as schema 1 or 400',
  },
  {
    id: 'P6',
    end: 'end-3',
    level: 'SHOULD NOT',
    check: async (registry, world) =>
      eachManifest(world, async (path, accept) => {
        expect((await registry.get(path, accept)).headers['content-type']).to.not.contain(';');
      }),
  },
  {
    id: 'P7',
    end: 'end-3',
    level: 'SHOULD',
    check: async (registry, world) =>
      eachManifest(world, async (path, accept, digest) => {
        const { headers, body } = await registry.get(path, accept);
        expect(headers['docker-content-digest'], path).to.equal(digest);
        expect(headers['content-length']).to.equal(String(body.length));
      }),
  },
  {
    id: 'P8',
    end: 'end-3',
    level: 'MUST',
    check: async (registry) => {
      for (const path of ABSENT_PATHS.filter((each) => each.includes('/manifests/'))) {
        expect((await registry.get(path)).status, path).to.equal(404);
      }
    },
  },
  {
    id: 'P9',
    end: 'end-2',
    level: 'MUST',
    check: async (registry, { layer }) => {
      const { status, body } = await registry.get(blob(layer.digest));
      expect([status, body.equals(layer.bytes)]).to.deep.equal([200, true]);
    },
  },
  {
    id: 'P10',
    end: 'end-2',
    level: 'SHOULD',
    check: async (registry, { layer }) => {
      const { headers, body } = await registry.get(blob(layer.digest));
      expect(headers['docker-content-digest']).to.equal(sha256(body));
      expect(headers['content-length']).to.equal(String(body.length));
    },
  },
  {
    id: 'P11',
    end: 'end-2',
    level: 'MUST',
    check: async (registry, { images }) => {
      for (const path of [...ABSENT_PATHS.filter((each) => each.includes('/blobs/'))]) {
        expect((await registry.get(path)).status, path).to.equal(404);
      }
      // No manifest is a blob of its repository.
      expect((await registry.get(blob(images.oci.digest))).status).to.equal(404);
    },
  },
  {
    id: 'P12',
    end: 'end-2',
    level: 'SHOULD',
    check: async (registry, { layer }) => {
      const { status, headers, body } = await registry.get(blob(layer.digest), {
        range: BLOB_RANGE,
      });
      expect([status, body.equals(layer.bytes.subarray(2, 5))]).to.deep.equal([206, true]);
      expect(headers).to.include({
        'content-range': `bytes 2-4/${layer.bytes.length}`,
        'accept-ranges': 'bytes',
      });
      const suffix = await registry.get(blob(layer.digest), { range: 'bytes=-1000' });
      expect([suffix.status, suffix.body.equals(layer.bytes)]).to.deep.equal([206, true]);
      const several = await registry.get(blob(layer.digest), { range: 'bytes=0-0,2-4' });
      const parts = readByteRanges(several).map(({ bytes }) => bytes.toString('hex'));
      const wanted = [layer.bytes.subarray(0, 1), layer.bytes.subarray(2, 5)];
      expect(parts).to.deep.equal(wanted.map((bytes) => bytes.toString('hex')));
    },
  },
  {
    id: 'P13',
    end: 'end-3',
    level: 'MUST',
    check: async (registry, world) =>
      eachManifest(world, async (path, accept) => {
        const { status, body } = await registry.head(path, accept);
        expect([status, body.length], path).to.deep.equal([200, 0]);
      }),
  },
  {
    id: 'P14',
    end: 'end-2',
    level: 'MUST',
    check: async (registry, { layer }) => {
      const { status, body } = await registry.head(blob(layer.digest));
      expect([status, body.length]).to.deep.equal([200, 0]);
    },
  },
  {
    id: 'P15',
    end: 'end-2, end-3',
    level: 'SHOULD',
    check: async (registry, world) => {
      await eachManifest(world, async (path, accept, digest) => {
        const [got, { headers }] = [
          await registry.get(path, accept),
          await registry.head(path, accept),
        ];
        expect(headers, path).to.include({
          'docker-content-digest': digest,
          'content-length': String(got.body.length),
          'content-type': got.headers['content-type'],
        });
      });
      const { digest, bytes } = world.layer;
      expect((await registry.head(blob(digest))).headers).to.include({
        'docker-content-digest': digest,
        'content-length': String(bytes.length),
      });
    },
  },
  {
    id: 'P16',
    end: 'end-2, end-3',
    level: 'MUST',
    check: async (registry) => {
      for (const path of ABSENT_PATHS) {
        expect((await registry.head(path)).status, path).to.equal(404);
      }
    },
  },
  {
    id: 'P17',
    end: 'end-2',
    level: 'SHOULD',
    check: async (registry, { layer }) => {
      const { status, headers } = await registry.get(blob(layer.digest), { range: 'bytes=1000-' });
      expect(status).to.equal(416);
      expect(headers['content-range']).to.equal(`bytes */${layer.bytes.length}`);
    },
    docker: 'it promises the whole blob with its 416 and breaks off',
  },
];
