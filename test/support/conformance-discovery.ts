/** Conformance: lists of tags and of referrers. */
import { expect } from 'chai';
import { followLinks, type Reply } from './ask.js';
import type { AskedRegistry, Requirement } from './conformance-requests.js';
import { MANY_NAME, NAME, OCI_CONFIG, SBOM, type World } from './conformance-world.js';
import { sha256 } from './make-image.js';

const LIST = `/v2/${NAME}/tags/list`;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const NO_PAGES = 'it knows neither n nor last and gives all tags';
const NO_REFERRERS = 'it has no referrers API: 404 in plain text';

interface Descriptor {
  readonly digest: string;
  readonly artifactType?: string;
  readonly annotations?: unknown;
}

const tagsOf = ({ json }: Reply) => (json as { tags: string[] }).tags;
const manifestsOf = ({ json }: Reply) => (json as { manifests: Descriptor[] }).manifests;
const tags = async (registry: AskedRegistry, query = '') =>
  tagsOf(await registry.get(`${LIST}${query}`));
const referrers = (digest: string, query = '', name = NAME) =>
  `/v2/${name}/referrers/${digest}${query}`;

async function descriptorOf(
  registry: AskedRegistry,
  { images, referrers: all }: World,
  which: keyof World['referrers'],
): Promise<Descriptor | undefined> {
  const reply = await registry.get(referrers(images.oci.digest));
  expect(reply.status).to.equal(200);
  return manifestsOf(reply).find(({ digest }) => digest === all[which].digest);
}

const TAGS: readonly Requirement[] = [
  {
    id: 'D1',
    end: 'end-8a',
    level: 'MUST',
    check: async (registry, world) => {
      const reply = await registry.get(LIST);
      expect(reply.status).to.equal(200);
      expect(reply.json).to.include({ name: NAME }).and.to.have.keys('name', 'tags');
      expect(tagsOf(reply)).to.have.members(world.tags);
    },
  },
  {
    id: 'D2',
    end: 'end-8a',
    level: 'MUST',
    check: async (registry) => {
      const all = await tags(registry);
      expect(all).to.include('Upper');
      expect([...all].sort()).to.deep.equal(all);
    },
    docker: 'its tags come in no order',
  },
  {
    id: 'D3',
    end: 'end-8a',
    level: 'MUST',
    check: async (registry) => {
      expect((await registry.get('/v2/nobody/tags/list')).status).to.equal(404);
    },
  },
  {
    id: 'D4',
    end: 'end-8b',
    level: 'MUST',
    check: async (registry, world) => {
      for (const n of [1, 2, world.tags.length, world.tags.length + 1]) {
        expect(await tags(registry, `?n=${n}`)).to.deep.equal(world.tags.slice(0, n));
      }
    },
    docker: NO_PAGES,
  },
  {
    id: 'D5',
    end: 'end-8b',
    level: 'MUST',
    check: async (registry, world) => {
      for (const n of [1, 3]) {
        const pages = await followLinks(registry.url, `${LIST}?n=${n}`);
        expect(pages).to.have.length(Math.ceil(world.tags.length / n));
        expect(pages.flatMap(tagsOf)).to.deep.equal(world.tags);
      }
    },
    docker: NO_PAGES,
  },
  {
    id: 'D6',
    end: 'end-8b',
    level: 'MUST',
    check: async (registry) => {
      const reply = await registry.get(`${LIST}?n=0`);
      expect([reply.status, tagsOf(reply)]).to.deep.equal([200, []]);
      expect(reply.headers).to.not.have.property('link');
    },
    docker: NO_PAGES,
  },
  {
    id: 'D7',
    end: 'end-8b',
    level: 'MUST',
    check: async (registry, { tags: all }) => {
      expect(await tags(registry, `?n=2&last=${all[1]}`)).to.deep.equal(all.slice(2, 4));
      expect(await tags(registry, `?n=2&last=${all.at(-1)}`)).to.deep.equal([]);
      // A tag that went meanwhile: what would come after it.
      expect(await tags(registry, `?n=1&last=${all[1]}0`)).to.deep.equal(all.slice(2, 3));
    },
    docker: NO_PAGES,
  },
  {
    id: 'D8',
    end: 'end-8b',
    level: 'MAY',
    check: async (registry, { tags: all }) => {
      expect(await tags(registry, `?last=${all[2]}`)).to.deep.equal(all.slice(3));
    },
    docker: NO_PAGES,
  },
];

const REFERRERS: readonly Requirement[] = [
  {
    id: 'R1',
    end: 'end-12a',
    level: 'MUST',
    check: async (registry, { images, referrers: all }) => {
      const reply = await registry.get(referrers(images.oci.digest));
      expect([reply.status, reply.headers['content-type']]).to.deep.equal([200, INDEX]);
      expect(reply.json).to.include({ schemaVersion: 2, mediaType: INDEX });
      const digests = manifestsOf(reply).map(({ digest }) => digest);
      expect(digests).to.have.members(Object.values(all).map(({ digest }) => digest));
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R2',
    end: 'end-12a',
    level: 'MUST',
    check: async (registry, { images }) => {
      for (const digest of [images.docker.digest, sha256('nothing')]) {
        for (const name of [NAME, 'nobody']) {
          const reply = await registry.get(referrers(digest, '', name));
          expect([reply.status, reply.headers['content-type']], name).to.deep.equal([200, INDEX]);
          expect(manifestsOf(reply)).to.deep.equal([]);
        }
      }
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R3',
    end: 'end-12a',
    level: 'MUST',
    check: async (registry) => {
      for (const digest of ['sha256:1', 'oci', `md5:${'0'.repeat(32)}`]) {
        expect((await registry.get(referrers(digest))).status, digest).to.equal(400);
      }
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R4',
    end: 'end-12a',
    level: 'MUST',
    check: async (registry, world) => {
      const typed = await descriptorOf(registry, world, 'typed');
      expect(typed).to.include({ ...world.referrers.typed, artifactType: SBOM });
      expect(await descriptorOf(registry, world, 'untyped')).to.include({
        artifactType: OCI_CONFIG,
      });
      const index = await descriptorOf(registry, world, 'index');
      expect(index).to.not.have.property('artifactType');
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R5',
    end: 'end-12a',
    level: 'MUST',
    check: async (registry, world) => {
      for (const which of ['typed', 'untyped', 'index'] as const) {
        const { annotations } = (await descriptorOf(registry, world, which)) ?? {};
        expect(annotations).to.deep.equal({ 'org.example.about': which });
      }
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R6',
    end: 'end-12a',
    level: 'MUST',
    check: async (registry, { many }) => {
      const pages = await followLinks(registry.url, referrers(many.subject, '', MANY_NAME));
      expect(pages.length).to.be.greaterThan(1);
      expect(pages.flatMap(manifestsOf).map(({ digest }) => digest)).to.deep.equal(many.digests);
      for (const { body } of pages) expect(body.length).to.be.at.most(4 * 1024 * 1024);
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R7',
    end: 'end-12b',
    level: 'SHOULD',
    check: async (registry, { images, referrers: all }) => {
      const reply = await registry.get(referrers(images.oci.digest, `?artifactType=${SBOM}`));
      expect(manifestsOf(reply).map(({ digest }) => digest)).to.deep.equal([all.typed.digest]);
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R8',
    end: 'end-12b',
    level: 'MUST',
    check: async (registry, { images }) => {
      const applied = async (query: string) =>
        (await registry.get(referrers(images.oci.digest, query))).headers['oci-filters-applied'];
      expect(await applied(`?artifactType=${SBOM}`)).to.equal('artifactType');
      expect(await applied('?artifactType=text/none')).to.equal('artifactType');
      expect(await applied('')).to.equal(undefined);
    },
    docker: NO_REFERRERS,
  },
  {
    id: 'R9',
    end: 'end-3',
    level: 'SHOULD',
    check: async (registry, { images }) => {
      const { digest } = images.oci;
      const fallback = await registry.get(`/v2/${NAME}/manifests/${digest.replace(':', '-')}`);
      expect([fallback.status, fallback.headers['content-type']]).to.deep.equal([200, INDEX]);
      expect(fallback.json).to.deep.equal((await registry.get(referrers(digest))).json);
      // Clients that look a tag up with HEAD ask for what it names.
      const named = fallback.headers['docker-content-digest'];
      const byDigest = await registry.get(`/v2/${NAME}/manifests/${named}`);
      expect([byDigest.status, byDigest.json]).to.deep.equal([200, fallback.json]);
    },
    docker: 'that tag is the business of whoever pushes there',
  },
];

export const DISCOVERY: readonly Requirement[] = [...TAGS, ...REFERRERS];
