/** The endpoint on a tree that changes, that other programs wrote to, or that is broken. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { followLinks } from '../support/ask.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { overwrite } from '../support/published-file.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, TestRegistry } from '../support/test-registry.js';
import { waitFor } from '../support/wait-for.js';

const LAYER = sha256(layerBytes('layer'));

describeOver('the endpoint', (over) => {
  const inDirectory = over === 'a directory' ? it : () => {};

  let root: string;
  let registry: TestRegistry;
  let content: TestContent;
  let image: TestDescriptor;

  beforeEach(async () => {
    root = tempDir();
    registry = await TestRegistry.open(root);
    content = new TestContent();
    image = content.image();
    await registry.drop('team/app', content, [{ image, tag: '1' }]);
  });
  afterEach(async () => {
    await registry.close();
    removeTempDirs();
  });

  const published = (...path: string[]) => join(root, 'published', ...path);
  const catalog = async () =>
    ((await registry.get('/v2/_catalog')).json as { repositories: string[] }).repositories;
  const said = async (path: string) => {
    const { status, code } = await registry.get(path);
    return code === undefined ? String(status) : `${status} ${code}`;
  };
  /** The same tree, asked under other settings, with nothing remembered. */
  async function reopen(yaml = ''): Promise<void> {
    await registry.close();
    registry = await TestRegistry.open(root, { yaml });
  }

  it('identifies itself as a registry at /v2/, with and without the slash, and for HEAD', async () => {
    for (const path of ['/v2/', '/v2', '/v2/?x=1']) {
      const { status, headers, json } = await registry.get(path);
      expect([status, json]).to.deep.equal([200, {}]);
      expect(headers).to.include({
        'docker-distribution-api-version': 'registry/2.0',
        'content-type': 'application/json',
      });
      expect((await registry.head(path)).status).to.equal(200);
    }
  });

  it('answers every error with the JSON of the spec, and forbids caching', async () => {
    const refusals: Record<string, string> = {
      '/v2/team/app/manifests/absent': '404 MANIFEST_UNKNOWN',
      [`/v2/team/app/blobs/${sha256('absent')}`]: '404 BLOB_UNKNOWN',
      '/v2/nobody/manifests/1': '404 NAME_UNKNOWN',
      '/v2/nobody/tags/list': '404 NAME_UNKNOWN',
      '/v2/Team/tags/list': '400 NAME_INVALID',
      '/v2/team/app/blobs/sha256:1': '400 DIGEST_INVALID',
      '/v2/team/app/tags/list?n=x': '400 PAGINATION_NUMBER_INVALID',
      '/elsewhere': '404 NAME_UNKNOWN',
    };
    for (const [path, what] of Object.entries(refusals)) {
      expect(await said(path), path).to.equal(what);
      const { headers, json } = await registry.get(path);
      expect(headers).to.include({
        'content-type': 'application/json',
        'cache-control': 'no-store',
      });
      const [error] = (json as { errors: { message: string; detail: object }[] }).errors;
      expect(error?.message).to.be.a('string');
      // Without one Docker's own library throws the message away.
      expect(error?.detail, path).to.be.an('object');
    }
  });

  it('names the missing object in the detail of an error', async () => {
    const digest = sha256('absent');
    const details: Record<string, object> = {
      '/v2/nobody/manifests/1': { name: 'nobody' },
      '/v2/nobody/tags/list': { name: 'nobody' },
      [`/v2/nobody/blobs/${digest}`]: { name: 'nobody' },
      '/v2/team/app/manifests/absent': { name: 'team/app', reference: 'absent' },
      [`/v2/team/app/manifests/${digest}`]: { name: 'team/app', reference: digest },
      [`/v2/team/app/blobs/${digest}`]: { name: 'team/app', digest },
      '/v2/Team/tags/list': { name: 'Team' },
      '/v2/team/app/blobs/sha256:1': { digest: 'sha256:1' },
    };
    for (const [path, detail] of Object.entries(details)) {
      const { json } = await registry.get(path);
      expect((json as { errors: { detail: object }[] }).errors[0]?.detail, path).to.deep.equal(
        detail,
      );
    }
  });

  it('rejects write methods with 405 and lists the allowed methods', async () => {
    const paths = ['/v2/', '/v2/team/app/manifests/1', '/v2/team/app/blobs/uploads/', '/x'];
    for (const path of paths) {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        const { status, code, headers } = await registry.ask(path, { method });
        expect([status, code], `${method} ${path}`).to.deep.equal([405, 'UNSUPPORTED']);
        expect(headers.allow).to.equal('GET, HEAD');
      }
    }
  });

  it('serves the new snapshot after a flip, and the old one by digest as well', async () => {
    const path = '/v2/team/app/manifests/1';
    const { etag = '' } = (await registry.get(path)).headers;
    const next = content.image({ layers: ['next'] });
    await registry.drop('team/app', content, [{ image: next, tag: '1' }]);
    const { status, headers } = await registry.get(path, { 'if-none-match': etag });
    expect([status, headers['docker-content-digest']]).to.deep.equal([200, next.digest]);
    expect(await said(`/v2/team/app/manifests/${image.digest}`)).to.equal('200');
    expect(await said(`/v2/team/app/blobs/${LAYER}`)).to.equal('200');
  });

  it('does not serve a snapshot of another repository under a reassigned id (I8)', async () => {
    await reopen('repositories: {team/other: {id: team~app}}');
    for (const path of [
      'manifests/1',
      `manifests/${image.digest}`,
      `blobs/${LAYER}`,
      'tags/list',
    ]) {
      expect(await said(`/v2/team/other/${path}`), path).to.equal('404 NAME_UNKNOWN');
    }
    const attached = content.image({ subject: image, artifactType: 'application/x.sbom' });
    await reopen();
    await registry.drop('team/app', content, [{ image: attached }]);
    await reopen('repositories: {team/other: {id: team~app}}');
    const { status, json } = await registry.get(`/v2/team/other/referrers/${image.digest}`);
    expect([status, (json as { manifests: [] }).manifests]).to.deep.equal([200, []]);
    expect(await catalog()).to.deep.equal([]);
  });

  it('finds a repository by its configured id, and lists it by name', async () => {
    await reopen('repositories: {team/named: {id: My_Id}}');
    await registry.drop('team/named', content, [{ image, tag: '1' }]);
    expect(readdirSync(published('web')).sort()).to.deep.equal(['My_Id', 'team~app']);
    expect(await said('/v2/team/named/manifests/1')).to.equal('200');
    expect(await catalog()).to.deep.equal(['team/app', 'team/named']);
  });

  inDirectory('neither serves nor lists what strangers put into web/', async () => {
    const snapshot = readlinkSync(published('web', 'team~app')).split('/').at(-1);
    mkdirSync(published('master', 'pulp'));
    for (const name of ['pulp', 'file', 'directory', 'outside', 'dangling', 'other']) {
      const path = published('web', name);
      if (name === 'file') writeFileSync(path, 'x');
      else if (name === 'directory') mkdirSync(join(path, 'tags'), { recursive: true });
      else if (name === 'pulp') symlinkSync('../master/pulp/1482241234.56', path);
      else if (name === 'outside') symlinkSync('/etc', path);
      else if (name === 'dangling') symlinkSync(`../master/dangling/${snapshot}`, path);
      else symlinkSync(`../master/team~app/${snapshot}`, path);
    }
    for (const name of ['pulp', 'file', 'directory', 'outside', 'dangling', 'other']) {
      expect(await said(`/v2/${name}/tags/list`), name).to.equal('404 NAME_UNKNOWN');
      expect(await said(`/v2/${name}/blobs/${LAYER}`), name).to.equal('404 NAME_UNKNOWN');
    }
    expect(await catalog()).to.deep.equal(['team/app']);
    expect(registry.errors).to.deep.equal([]);
  });

  inDirectory('serves no link and no directory inside a snapshot as a file', async () => {
    const outside = join(root, 'outside');
    writeFileSync(outside, '{"schemaVersion": 2}');
    symlinkSync(outside, registry.web('team~app', 'manifests', 'oci', 'link'));
    mkdirSync(registry.web('team~app', 'manifests', 'oci', 'directory'));
    symlinkSync(outside, registry.web('team~app', 'blobs', sha256('link')));
    expect(await said('/v2/team/app/manifests/link')).to.equal('404 MANIFEST_UNKNOWN');
    expect(await said('/v2/team/app/manifests/directory')).to.equal('404 MANIFEST_UNKNOWN');
    expect(await said(`/v2/team/app/blobs/${sha256('link')}`)).to.equal('404 BLOB_UNKNOWN');
  });

  it('lists the catalog in pages, each repository once', async () => {
    for (const name of ['a', 'b/c', 'team', 'team/app2', 'z']) {
      await registry.drop(name, content, [{ image, tag: '1' }]);
    }
    const all = ['a', 'b/c', 'team', 'team/app', 'team/app2', 'z'];
    expect(await catalog()).to.deep.equal(all);
    for (const n of [1, 2, 4, 6, 1001]) {
      const pages = await followLinks(registry.server.url, `/v2/_catalog?n=${n}`);
      expect(
        pages.flatMap(({ json }) => (json as { repositories: string[] }).repositories),
      ).to.deep.equal(all);
      expect(pages).to.have.length(Math.ceil(6 / n));
    }
    const none = await registry.get('/v2/_catalog?n=0');
    expect([none.json, none.headers.link]).to.deep.equal([{ repositories: [] }, undefined]);
    const after = await registry.get('/v2/_catalog?last=team%2Fapp');
    expect(after.json).to.deep.equal({ repositories: ['team/app2', 'z'] });
  });

  inDirectory(
    'answers from the next snapshot when one is cleaned away between pivot and file',
    async () => {
      const next = content.image({ layers: ['next'] });
      const attached = content.image({ subject: image, artifactType: 'application/x.sbom' });
      await registry.drop('team/app', content, [{ image, tag: 'kept' }, { image: attached }]);
      const old = readlinkSync(published('web', 'team~app'));
      await registry.drop('team/app', content, [{ image: next, tag: '1' }]);
      const current = readlinkSync(published('web', 'team~app'));
      const referrers = `/v2/team/app/referrers/${image.digest}`;
      const paths = ['manifests/1', `blobs/${LAYER}`, 'tags/list'].map(
        (each) => `/v2/team/app/${each}`,
      );
      // The last one with a snapshot whose name is remembered.
      for (const [at, path] of [...paths, '/v2/_catalog', referrers, referrers].entries()) {
        point(old);
        await reopen();
        if (at === 5) expect(await said('/v2/team/app/manifests/absent')).to.match(/^404/);
        renameSync(published('web', old), join(root, 'cleaned'));
        let asked = 0;
        const { roots } = registry.services;
        // Asked for when the pivot is read, when its snapshot is named, and so on: the first look at
        // the pivot finds the snapshot that is gone, the second one the flip.
        const lookBefore = path.endsWith('_catalog') ? 4 : 3;
        Object.defineProperty(roots, 'published', {
          get() {
            if (++asked === lookBefore) point(current);
            return published();
          },
        });
        const { status, json } = await registry.get(path);
        expect(status, path).to.equal(200);
        if (lookBefore === 4) expect(json).to.deep.equal({ repositories: ['team/app'] });
        const found = (json as { manifests?: { digest: string }[] } | undefined)?.manifests;
        if (path === referrers) expect(found?.[0]?.digest).to.equal(attached.digest);
        expect(asked).to.be.at.least(lookBefore);
        renameSync(join(root, 'cleaned'), published('web', old));
      }
      expect(registry.errors).to.deep.equal([]);

      function point(target: string): void {
        symlinkSync(target, published('.next'));
        renameSync(published('.next'), published('web', 'team~app'));
      }
    },
  );

  inDirectory('answers 500 with JSON where the tree cannot be read, and stays up', async () => {
    renameSync(published('web'), published('aside'));
    symlinkSync('web', published('web'));
    expect(await said('/v2/team/app/manifests/1')).to.equal('500 UNKNOWN');
    expect(await said('/v2/_catalog')).to.equal('500 UNKNOWN');
    await waitFor('the log', () => registry.errors.length === 2);
    expect(registry.errors.map((error) => (error as NodeJS.ErrnoException).code)).to.deep.equal([
      'ELOOP',
      'ELOOP',
    ]);
    expect(await said('/v2/')).to.equal('200');
    rmSync(published('web'));
    renameSync(published('aside'), published('web'));
    expect(await said('/v2/team/app/manifests/1')).to.equal('200');
  });

  inDirectory(
    'answers 500 for a list that is no list, and goes on for other repositories',
    async () => {
      await registry.drop('fine', content, [{ image, tag: '1' }]);
      const file = registry.web('team~app', 'tags', 'list');
      const before = readFileSync(file, 'utf8');
      for (const text of ['', 'null', '{"name": ', before.slice(0, 20)]) {
        overwrite(file, text);
        await reopen();
        expect(await said('/v2/team/app/manifests/1'), text).to.match(/^(500 UNKNOWN|404 NAME)/);
        expect(await said('/v2/fine/manifests/1')).to.equal('200');
      }
    },
  );
});
