/**
 * Goal: the official OCI conformance suite would pass. Reimplements its rows for pull and content
 * discovery under their original names: distribution-spec, `conformance/run.go` and `api.go` (main), and
 * the differing rows of release v1.1 (`01_pull_test.go`, `03_discovery_test.go`). Its rows for push and
 * delete are omitted: the suite is configured to skip them for a registry without write support.
 */
import { createHash, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { Asked, Reply } from '../support/ask.js';
import { dropPath } from '../support/deliver.js';
import {
  type Algorithm,
  IMAGE,
  INDEX,
  SUITE_DATA,
  SuiteData,
  type SuiteDescriptor,
} from '../support/suite-data.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, TestRegistry } from '../support/test-registry.js';

/** As the suite says it: one line for each. */
const ACCEPT = { Accept: [INDEX, IMAGE] };
const RANDOM = `sha256:${randomBytes(32).toString('hex')}`;

describeOver('the OCI conformance suite', () => {
  let registry: TestRegistry;
  const repository = (name: string) => `conformance/${name}`;
  const get = (path: string, headers: Asked['headers'] = {}) => registry.get(path, headers);

  before(async () => {
    registry = await TestRegistry.open(tempDir());
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  async function publish(name: string, data: SuiteData): Promise<void> {
    data.writeLayout(dropPath(registry.root, repository(name)));
    await registry.take(repository(name));
  }

  /** `ManifestHeadExists`, `ManifestGetExists`, `BlobHeadExists`, `BlobGetExistsFull`. */
  function expectWhole(reply: Reply, digest: string, bytes: Buffer, isHead: boolean): void {
    expect(reply.status).to.equal(200);
    expect(reply.body.equals(isHead ? Buffer.alloc(0) : bytes)).to.equal(true);
    expect(reply.headers).to.include({
      'content-length': String(bytes.length),
      'docker-content-digest': digest,
    });
  }
  async function expectManifest(
    method: 'GET' | 'HEAD',
    path: string,
    digest: string,
    bytes: Buffer,
  ): Promise<void> {
    const reply = await registry.ask(path, { method, headers: ACCEPT });
    expectWhole(reply, digest, bytes, method === 'HEAD');
    const { mediaType } = JSON.parse(bytes.toString()) as { mediaType: string };
    expect(reply.headers['content-type']).to.equal(mediaType);
  }

  /** `ReferrersList` */
  async function listReferrers(name: string, digest: string, query = ''): Promise<Reply> {
    const reply = await get(`/v2/${repository(name)}/referrers/${digest}${query}`);
    expect(reply.status).to.equal(200);
    expect(reply.headers['content-type']).to.equal(INDEX);
    expect(reply.json).to.include({ schemaVersion: 2, mediaType: INDEX });
    return reply;
  }
  const manifestsOf = ({ json }: Reply) =>
    (json as { manifests: readonly SuiteDescriptor[] }).manifests;

  /** `TagList` */
  async function listTags(name: string, query = ''): Promise<readonly string[]> {
    const { status, json } = await get(`/v2/${repository(name)}/tags/list${query}`);
    expect(status).to.be.oneOf([200, 404]);
    return status === 404 ? [] : (json as { tags: string[] }).tags;
  }

  it('ping', async () => {
    expect((await get('/v2/')).status).to.equal(200);
  });

  describe('empty', () => {
    it('tag list', async () => {
      expect(await listTags('empty')).to.deep.equal([]);
    });

    it('referrers', async () => {
      expect(manifestsOf(await listReferrers('empty', RANDOM))).to.deep.equal([]);
    });
  });

  for (const algorithm of ['sha256', 'sha512'] as const) {
    describe(`${algorithm} blobs`, () => {
      const contents = {
        blob: randomBytes(512),
        'range requests': randomBytes(2048),
        empty: Buffer.alloc(0),
        emptyJSON: Buffer.from('{}'),
      };
      const path = (bytes: Buffer) =>
        `/v2/${repository(`blobs-${algorithm}`)}/blobs/${digestOf(algorithm, bytes)}`;

      before(async () => {
        const data = new SuiteData(algorithm);
        data.image({ layers: Object.values(contents).map((bytes) => data.blob(bytes)), tag: '1' });
        await publish(`blobs-${algorithm}`, data);
      });

      it('get-missing', async () => {
        expect((await get(path(randomBytes(512)))).status).to.equal(404);
      });

      for (const name of ['blob', 'empty', 'emptyJSON'] as const) {
        for (const method of ['HEAD', 'GET'] as const) {
          it(`${name}/blob-${method.toLowerCase()}`, async () => {
            const bytes = contents[name];
            const reply = await registry.ask(path(bytes), { method });
            expectWhole(reply, digestOf(algorithm, bytes), bytes, method === 'HEAD');
          });
        }
      }

      const ranges: readonly [range: string, from: number, to: number][] = [
        ['500-1499', 500, 1499],
        ['500-', 500, 2047],
        ['-500', 1548, 2047],
        ['2000-5000', 2000, 2047],
      ];
      for (const [range, from, to] of ranges) {
        it(`range requests/range ${range}`, async () => {
          const bytes = contents['range requests'];
          const reply = await get(path(bytes), { Range: `bytes=${range}` });
          expect(reply.status).to.equal(206);
          expect(reply.body.equals(bytes.subarray(from, to + 1))).to.equal(true);
          expect(reply.headers).to.include({
            'content-length': String(to - from + 1),
            'content-range': `bytes ${from}-${to}/2048`,
          });
        });
      }
      for (const range of ['500-0', '5000-10000']) {
        it(`range requests/range ${range}`, async () => {
          const reply = await get(path(contents['range requests']), { Range: `bytes=${range}` });
          expect(reply.status).to.equal(416);
        });
      }
    });
  }

  for (const [name, fill] of Object.entries(SUITE_DATA)) {
    describe(name, () => {
      let data: SuiteData;
      const manifestPath = (reference: string) => `/v2/${repository(name)}/manifests/${reference}`;
      const bytesOf = (digest: string) => data.manifests.get(digest) ?? Buffer.alloc(0);

      before(async () => {
        data = new SuiteData(name === 'sha512' ? 'sha512' : 'sha256');
        fill(data);
        await publish(name, data);
      });

      it('tag-list', async () => {
        const all = await listTags(name);
        expect(all).to.include.members([...data.tags.keys()]);
        if (all.length < 2) return;
        const sorted = [...all].sort();
        const end = sorted.length >> 1;
        const after = await listTags(name, `?last=${sorted[end - 1]}`);
        expect(after).to.have.members(sorted.slice(end));
      });

      for (const method of ['HEAD', 'GET'] as const) {
        const group = method === 'HEAD' ? 'head' : 'pull';
        const row = method === 'HEAD' ? 'manifest-head' : 'manifest';
        if (name !== 'sha512') {
          it(`${group}/${row}-by-tag`, async () => {
            expect(data.tags.size).to.be.greaterThan(0);
            for (const [tag, digest] of data.tags) {
              await expectManifest(method, manifestPath(tag), digest, bytesOf(digest));
            }
          });
        }

        it(`${group}/${row}-by-digest`, async () => {
          for (const [digest, bytes] of data.manifests) {
            await expectManifest(method, manifestPath(digest), digest, bytes);
          }
        });

        it(`${group}/blob-${method.toLowerCase()}`, async () => {
          for (const [digest, bytes] of data.blobs) {
            const path = `/v2/${repository(name)}/blobs/${digest}`;
            const reply = await registry.ask(path, { method });
            expectWhole(reply, digest, bytes, method === 'HEAD');
          }
        });
      }

      if (!/subject/.test(name)) return;
      it('referrers', async () => {
        expect(data.referrers.size).to.equal(1);
        for (const [subject, wanted] of data.referrers) {
          const plain = ({ annotations, ...rest }: SuiteDescriptor) => ({ ...rest, annotations });
          const listed = manifestsOf(await listReferrers(name, subject)).map(plain);
          expect(listed).to.have.deep.members(wanted.map(plain));
          for (const type of new Set(wanted.map(({ artifactType }) => artifactType))) {
            const query = `?artifactType=${encodeURIComponent(type ?? '')}`;
            const reply = await listReferrers(name, subject, query);
            expect(reply.headers['oci-filters-applied']).to.equal('artifactType');
            expect(manifestsOf(reply).map(plain)).to.have.deep.members(
              wanted.filter(({ artifactType }) => artifactType === type).map(plain),
            );
          }
        }
      });
    });
  }

  describe('missing-manifest', () => {
    for (const [row, reference] of [
      ['by-digest', RANDOM],
      ['by-tag', 'missing-tag'],
    ]) {
      it(`${row}`, async () => {
        const path = `/v2/${repository('image')}/manifests/${reference}`;
        expect((await get(path, ACCEPT)).status).to.equal(404);
      });
    }
  });

  describe('invalid-digest-format', () => {
    it('manifest-get', async () => {
      const path = `/v2/${repository('image')}/manifests/sha256:baddigeststring`;
      expect((await get(path, ACCEPT)).status).to.be.oneOf([400, 404]);
    });
  });

  describe('release v1.1', () => {
    it('HEAD request to nonexistent blob should result in 404 response', async () => {
      const { status } = await registry.head(`/v2/${repository('image')}/blobs/${RANDOM}`);
      expect(status).to.equal(404);
    });

    it('HEAD request to nonexistent manifest should return 404', async () => {
      const { status } = await registry.head(`/v2/${repository('image')}/manifests/.INVALID`);
      expect(status).to.equal(404);
    });

    it('GET nonexistent manifest should return 404', async () => {
      const { status } = await get(`/v2/${repository('image')}/manifests/.INVALID`);
      expect(status).to.equal(404);
    });

    it('GET number of tags should be limitable by `n` query parameter', async () => {
      const name = 'artifacts-with-subject';
      const all = await listTags(name);
      expect(all.length).to.be.at.least(3);
      const half = all.length >> 1;
      expect(await listTags(name, `?n=${half}`)).to.deep.equal(all.slice(0, half));
    });

    it('GET start of tag is set by `last` query parameter', async () => {
      const name = 'artifacts-with-subject';
      const all = await listTags(name);
      const after = await listTags(name, `?n=2&last=${all[0]}`);
      expect(after).to.deep.equal(all.slice(1, 3));
    });

    it('GET request to nonexistent blob should result in empty 200 response', async () => {
      expect(manifestsOf(await listReferrers('image', RANDOM))).to.deep.equal([]);
    });
  });
});

function digestOf(algorithm: Algorithm, bytes: Buffer): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
