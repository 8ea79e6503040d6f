/** Lists: complete, sorted, without duplicates, whatever the page size. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { cutPage } from '#src/registry/discovery.js';
import { followLinks } from '../support/ask.js';
import { sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { overwrite } from '../support/published-file.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, steadyHeaders, TestRegistry } from '../support/test-registry.js';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const PAGE_BYTES = 4 * 1024 * 1024;
const SBOM = 'application/vnd.example.sbom.v1+json';
const SIGNATURE = 'application/vnd.example.signature.v1';

interface Referrers {
  readonly manifests: { digest: string; artifactType?: string; annotations?: object }[];
}

describe('cutPage', () => {
  const all = ['a', 'b', 'c'];
  it('returns a part of a sorted list, and its last entry when there is more', () => {
    const cut = (n?: number, last?: string) => cutPage(all, { n, last });
    expect(cut()).to.deep.equal({ items: all, next: undefined });
    expect(cut(2)).to.deep.equal({ items: ['a', 'b'], next: 'b' });
    expect(cut(3)).to.deep.equal({ items: all, next: undefined });
    expect(cut(9)).to.deep.equal({ items: all, next: undefined });
    expect(cut(0)).to.deep.equal({ items: [], next: undefined });
    expect(cut(1, 'a')).to.deep.equal({ items: ['b'], next: 'b' });
    expect(cut(undefined, 'b')).to.deep.equal({ items: ['c'], next: undefined });
    // After a name that is not there: what would come after it.
    expect(cut(1, 'aa')).to.deep.equal({ items: ['b'], next: 'b' });
    expect(cut(5, 'z')).to.deep.equal({ items: [], next: undefined });
    expect(cut(5, '')).to.deep.equal({ items: all, next: undefined });
  });
});

describe('tags/list', () => {
  let registry: TestRegistry;
  const tags = Array.from({ length: 3000 }, (_none, n) => `${'vVz_'[n % 4]}${n}.0-x`).sort();
  const list = '/v2/team/app/tags/list';

  before(async () => {
    registry = await TestRegistry.open(tempDir());
    const content = new TestContent();
    const image = content.image();
    await registry.drop('team/app', content, [{ image, tag: '1' }]);
    // What a publish of so many writes, without the ten seconds of its syncs.
    const file = registry.web('team~app', 'tags', 'list');
    overwrite(file, `${JSON.stringify({ name: 'team/app', tags })}\n`);
    await registry.drop('nameless', content, [{ image }]);
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });
  const tagsAt = async (path: string) => (await registry.get(path)).json as { tags: string[] };

  it('lists all tags, in byte order', async () => {
    const { json, headers } = await registry.get(list);
    expect(json).to.deep.equal({ name: 'team/app', tags });
    expect(headers).to.include({ 'content-type': 'application/json', 'cache-control': 'no-cache' });
    expect(headers).to.not.have.property('link');
  });

  it('returns each tag once to a client that follows the links, whatever the page size', async () => {
    for (const n of [7, 1000, 2999, 3000]) {
      const pages = await followLinks(registry.server.url, `${list}?n=${n}`);
      expect(pages).to.have.length(Math.ceil(3000 / n));
      const all = pages.flatMap(({ json }) => (json as { tags: string[] }).tags);
      expect(all, `n=${n}`).to.deep.equal(tags);
    }
  }).timeout(20_000);

  it('returns an empty list without a link for n=0, and all tags for an n beyond the length', async () => {
    const none = await registry.get(`${list}?n=0`);
    expect(none.json).to.deep.equal({ name: 'team/app', tags: [] });
    expect(none.headers).to.not.have.property('link');
    expect((await tagsAt(`${list}?n=0&last=${tags[5]}`)).tags).to.deep.equal([]);
    for (const n of [3000, 3001, 999_999_999_999_999]) {
      const { json, headers } = await registry.get(`${list}?n=${n}`);
      expect(json).to.deep.equal({ name: 'team/app', tags });
      expect(headers).to.not.have.property('link');
    }
  });

  it('continues after `last`, with or without n, whether that tag exists or not', async () => {
    expect((await tagsAt(`${list}?last=${tags[2997]}`)).tags).to.deep.equal(tags.slice(2998));
    expect((await tagsAt(`${list}?n=2&last=${tags[9]}`)).tags).to.deep.equal(tags.slice(10, 12));
    expect((await tagsAt(`${list}?n=1&last=0`)).tags).to.deep.equal([tags[0]]);
    expect((await tagsAt(`${list}?last=zzz`)).tags).to.deep.equal([]);
    expect((await tagsAt(`${list}?last=%00..%2f`)).tags).to.deep.equal(tags);
  });

  it('returns an empty list, never null, for a repository without tags', async () => {
    const { json, status } = await registry.get('/v2/nameless/tags/list');
    expect([status, json]).to.deep.equal([200, { name: 'nameless', tags: [] }]);
  });

  it('has a separate ETag for each page, and the same headers for HEAD', async () => {
    const etags = new Set<unknown>();
    for (const query of ['', '?n=5', '?n=5&last=v0.0-x', '?n=0']) {
      const got = await registry.get(`${list}${query}`);
      etags.add(got.headers.etag);
      const again = await registry.get(`${list}${query}`, {
        'if-none-match': String(got.headers.etag),
      });
      expect(again.status).to.equal(304);
      expect(again.headers.link).to.equal(got.headers.link);
      expect(steadyHeaders(await registry.head(`${list}${query}`))).to.deep.equal(
        steadyHeaders(got),
      );
    }
    expect(etags.size).to.equal(4);
  });

  it('rejects an n that is not a number', async () => {
    const { status, code } = await registry.get(`${list}?n=-1`);
    expect([status, code]).to.deep.equal([400, 'PAGINATION_NUMBER_INVALID']);
  });
});

describeOver('referrers', (over) => {
  const inDirectory = over === 'a directory' ? it : () => {};

  let registry: TestRegistry;
  let subject: TestDescriptor;
  let referrers: TestDescriptor[];

  before(async () => {
    registry = await TestRegistry.open(tempDir());
    const content = new TestContent();
    subject = content.image();
    referrers = [SBOM, SIGNATURE, undefined].map((artifactType, n) =>
      content.image({
        layers: [`r${n}`],
        subject,
        annotations: { n: String(n) },
        ...(artifactType && { artifactType }),
      }),
    );
    const images = [subject, ...referrers].map((image) => ({ image }));
    await registry.drop('team/app', content, images);
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });
  const path = (query = '') => `/v2/team/app/referrers/${subject.digest}${query}`;
  const manifests = (json: unknown) => (json as Referrers).manifests;

  it('are an index of the manifests with this subject, with types and annotations', async () => {
    const { json, headers } = await registry.get(path());
    expect(headers).to.include({ 'content-type': INDEX, 'cache-control': 'no-cache' });
    expect(headers).to.not.have.property('oci-filters-applied');
    const found = manifests(json);
    expect(found.map(({ digest }) => digest)).to.deep.equal(
      referrers.map(({ digest }) => digest).sort(),
    );
    const types = referrers.map(({ digest }) => found.find((each) => each.digest === digest));
    expect(types.map((each) => each?.artifactType)).to.deep.equal([
      SBOM,
      SIGNATURE,
      'application/vnd.oci.image.config.v1+json',
    ]);
    expect(types.map((each) => each?.annotations)).to.deep.equal([
      { n: '0' },
      { n: '1' },
      { n: '2' },
    ]);
  });

  it('are filtered by artifact type, and the response says so', async () => {
    const query = `?artifactType=${encodeURIComponent(SBOM)}`;
    const { json, headers } = await registry.get(path(query));
    expect(headers['oci-filters-applied']).to.equal('artifactType');
    expect(manifests(json).map(({ digest }) => digest)).to.deep.equal([referrers[0]?.digest]);
    const none = await registry.get(path('?artifactType=text/x'));
    expect([none.status, manifests(none.json)]).to.deep.equal([200, []]);
    expect(none.headers['oci-filters-applied']).to.equal('artifactType');
  });

  it('are an empty index for a subject without referrers or a missing one, and never 404', async () => {
    const digests = [referrers[0]?.digest, sha256('nothing'), `sha512:${'0'.repeat(128)}`];
    const paths = digests.map((digest) => `/v2/team/app/referrers/${digest}`);
    // 404 would tell clients that there is no such API here.
    for (const path of [...paths, `/v2/nobody/referrers/${subject.digest}`]) {
      const { status, json, headers } = await registry.get(path);
      expect(status, path).to.equal(200);
      expect(headers['content-type']).to.equal(INDEX);
      expect(json).to.deep.equal({ schemaVersion: 2, mediaType: INDEX, manifests: [] });
    }
    const wrong = await registry.get('/v2/team/app/referrers/sha256:abc');
    expect([wrong.status, wrong.code]).to.deep.equal([400, 'DIGEST_INVALID']);
    const unknown = await registry.get(`/v2/nobody/referrers/${subject.digest}?artifactType=x`);
    expect(unknown.headers['oci-filters-applied']).to.equal('artifactType');
  });

  inDirectory(
    'beyond 4 MiB come in pages within it, each entry once, filtered or not',
    async () => {
      const file = registry.web('team~app', 'referrers', subject.digest);
      const one = JSON.parse(readFileSync(file, 'utf8')) as Referrers;
      const big = Array.from({ length: 200 }, (_none, n) => ({
        ...one.manifests[0],
        digest: sha256(`referrer ${n}`),
        artifactType: n % 2 ? SBOM : SIGNATURE,
        annotations: { long: 'é'.repeat(25_000) },
      })).sort((a, b) => (a.digest < b.digest ? -1 : 1));
      // As a publish of 200 such would write it; the snapshot is opened anew, for nothing is remembered.
      rmSync(file);
      writeFileSync(file, `${JSON.stringify({ ...one, manifests: big })}\n`);
      const other = await TestRegistry.open(registry.root);
      const pages = await followLinks(other.server.url, path());
      expect(pages.length).to.equal(3);
      for (const { body } of pages) expect(body.length).to.be.at.most(PAGE_BYTES);
      const digests = (replies: typeof pages) =>
        replies.flatMap(({ json }) => manifests(json).map(({ digest }) => digest));
      expect(digests(pages)).to.deep.equal(big.map(({ digest }) => digest));
      const query = `?artifactType=${encodeURIComponent(SBOM)}`;
      const filtered = await followLinks(other.server.url, path(query));
      expect(filtered.length).to.equal(2);
      expect(filtered.every(({ headers }) => headers['oci-filters-applied'])).to.equal(true);
      expect(digests(filtered)).to.deep.equal(
        big.filter(({ artifactType }) => artifactType === SBOM).map(({ digest }) => digest),
      );
      await other.close();
    },
  );
});
