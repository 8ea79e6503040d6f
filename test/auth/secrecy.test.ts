/** A client without access cannot distinguish a forbidden repository from a missing one. */
import { Agent } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { basic, type Reply } from '../support/ask.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, steadyHeaders, TestRegistry } from '../support/test-registry.js';

const LAYER = sha256(layerBytes('layer'));
const REPOSITORIES = `repositories:
  secret/**: {protected: true}
  secret/alice: {readers: [alice]}
  secret/both: {readers: [alice, bob]}
  secret/none: {readers: []}
`;
const BASIC = 'Basic realm="dropdock", charset="UTF-8"';
const ALICE = basic('alice', 'a-secret');
const BOB = basic('bob', 'b-secret');
const NOBODY = {};

describeOver('readers', () => {
  let registry: TestRegistry;
  let image: TestDescriptor;
  let passwords: string;

  before(async () => {
    const root = tempDir();
    passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'a-secret', bob: 'b-secret' });
    registry = await TestRegistry.open(root, { yaml: yaml() });
    const content = new TestContent();
    image = content.image();
    for (const name of ['open', 'secret/all', 'secret/alice', 'secret/both', 'secret/none']) {
      await registry.drop(name, content, [{ image, tag: '1' }]);
    }
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  const yaml = (more = '') => `registry: {htpasswd: ${passwords}${more}}\n${REPOSITORIES}`;
  const paths = (name: string) =>
    ['manifests/1', `manifests/${image.digest}`, `blobs/${LAYER}`, 'tags/list', 'tags/list?n=1']
      .concat(`referrers/${image.digest}`, 'manifests/absent', `blobs/${sha256('absent')}`)
      .map((path) => `/v2/${name}/${path}`);
  const scopeOf = (path: string) => {
    if (path === '/v2/_catalog') return 'registry:catalog:*';
    const [, name] = /^\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(path) ?? [];
    return name && `repository:${name}:pull`;
  };
  /** Of all but referrers, which are never 404. */
  const statuses = async (name: string, headers: Record<string, string>) => {
    const asked = paths(name).filter((path) => !path.includes('/referrers/'));
    const got = await Promise.all(asked.map((path) => registry.get(path, headers)));
    return [...new Set(got.map(({ status }) => status))].sort();
  };
  /** What a client is asked with; without a scope where nothing tells which. */
  const challenge = (scope?: string, error?: string) =>
    `Bearer realm="${registry.server.url}/v2/token",service="dropdock"` +
    (scope ? `,scope="${scope}"` : '') +
    (error ? `,error="${error}"` : '');
  /** A token for these repositories and the catalog. */
  async function token(headers: Record<string, string>, ...names: string[]) {
    const scopes = names.map((name) => `scope=repository:${name}:pull`).join('&');
    const path = `/v2/token?service=dropdock&scope=registry:catalog:*&${scopes}`;
    const reply = await registry.get(path, headers);
    return { authorization: `Bearer ${(reply.json as { token: string }).token}` };
  }
  const catalog = async (headers: Record<string, string>) =>
    ((await registry.get('/v2/_catalog', headers)).json as { repositories: string[] }).repositories;
  async function reopen(text: string): Promise<void> {
    const { root } = registry;
    await registry.close();
    registry = await TestRegistry.open(root, { yaml: text });
  }

  it('are everyone, all users, or the listed users', async () => {
    // 404 is there for what is absent in a repository that may be read.
    const may = [200, 404];
    const readers: Record<string, [unknown, unknown, unknown]> = {
      open: [may, may, may],
      'secret/all': [[401], may, may],
      'secret/alice': [[401], may, [404]],
      'secret/both': [[401], may, may],
      'secret/none': [[401], [404], [404]],
      'secret/absent': [[401], [404], [404]],
    };
    for (const [name, expected] of Object.entries(readers)) {
      const got = [NOBODY, ALICE, BOB].map((headers) => statuses(name, headers));
      expect(await Promise.all(got), name).to.deep.equal(expected);
    }
  });

  it('see in the catalog only the repositories they may read', async () => {
    expect(await catalog(NOBODY)).to.deep.equal(['open']);
    expect(await catalog(ALICE)).to.deep.equal([
      'open',
      'secret/alice',
      'secret/all',
      'secret/both',
    ]);
    expect(await catalog(BOB)).to.deep.equal(['open', 'secret/all', 'secret/both']);
    const page = await registry.get('/v2/_catalog?n=1', NOBODY);
    expect([page.json, page.headers.link]).to.deep.equal([{ repositories: ['open'] }, undefined]);
    expect((await registry.get('/v2/_catalog', ALICE)).headers).to.include({
      'cache-control': 'private, no-cache',
      vary: 'Authorization',
    });
  });

  it('get responses that shared caches must not store, unless the repository is public', async () => {
    const open = await registry.get(`/v2/open/blobs/${LAYER}`);
    expect(open.headers['cache-control']).to.equal('public, max-age=31536000, immutable');
    const secret = await registry.get(`/v2/secret/all/blobs/${LAYER}`, ALICE);
    expect(secret.headers['cache-control']).to.equal('private, max-age=31536000, immutable');
    for (const path of ['manifests/1', 'tags/list', `referrers/${image.digest}`]) {
      const { headers } = await registry.get(`/v2/secret/all/${path}`, ALICE);
      expect(headers['cache-control'], path).to.equal('private, no-cache');
      expect(headers.vary).to.match(/Authorization/);
    }
  });

  it('get the same referrers response for a forbidden and for a missing repository', async () => {
    const path = (name: string, query = '') => `/v2/${name}/referrers/${image.digest}${query}`;
    for (const name of ['secret/alice', 'secret/none', 'secret/absent', 'absent']) {
      expect((await registry.get(path(name), NOBODY)).status, name).to.equal(401);
      const { status, json, headers } = await registry.get(path(name), BOB);
      expect([status, (json as { manifests: [] }).manifests], name).to.deep.equal([200, []]);
      // What the settings say of a name is as secret as what there is.
      expect(headers['cache-control'], name).to.equal('private, no-cache');
      const filtered = await registry.get(path(name, '?artifactType=x'), BOB);
      expect(filtered.headers['oci-filters-applied']).to.equal('artifactType');
    }
  });

  it('without access cannot distinguish a forbidden from a missing repository, with tokens either', async () => {
    // Each is asked with its own name, and is answered with it.
    const without = (name: string) => (reply: Reply) => ({
      status: reply.status,
      headers: JSON.stringify(steadyHeaders(reply)).replaceAll(name, ''),
      body: reply.body.toString().replaceAll(name, ''),
    });
    const forNobody = ['secret/all', 'secret/alice', 'secret/none'];
    const forBob = ['secret/alice', 'secret/none'];
    // As long as the name: errors name what was asked for.
    const absencesOf = (name: string) => [name.replace(/.$/, 'x'), 'x'.repeat(name.length)];
    const absences = [...forNobody, ...forBob].flatMap(absencesOf);
    for (const [who, names] of [
      [NOBODY, forNobody],
      [BOB, forBob],
      [await token(NOBODY, ...forNobody, ...absences), forNobody],
      [await token(BOB, ...forBob, ...absences), forBob],
      // Good for something else.
      [await token(NOBODY, 'open'), forNobody],
      [await token(BOB, 'open'), forBob],
    ] as const) {
      for (const [name, absent] of names.flatMap((name) =>
        absencesOf(name).map((each) => [name, each]),
      )) {
        if (name === undefined || absent === undefined) throw new Error('no names');
        for (const [at, path] of paths(name).entries()) {
          const other = paths(absent)[at] ?? '';
          for (const method of ['GET', 'HEAD', 'DELETE']) {
            const asked = { headers: who, method };
            expect(
              without(name)(await registry.ask(path, asked)),
              `${method} ${path}`,
            ).to.deep.equal(without(absent)(await registry.ask(other, asked)));
          }
        }
      }
    }
  });

  it('get the same kind of token for a forbidden, a missing and a public repository', async () => {
    const names = ['secret/all', 'secret/alice', 'secret/none', 'secret/absent', 'absent', 'open'];
    for (const who of [NOBODY, ALICE, BOB]) {
      const claims = await Promise.all(
        names.map(async (name) => {
          const reply = await registry.get(`/v2/token?scope=repository:${name}:pull`, who);
          const { token, ...rest } = reply.json as { token: string; access_token: string };
          const payload = JSON.parse(
            Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
          ) as Record<string, unknown>;
          for (const time of ['iat', 'nbf', 'exp', 'jti']) delete payload[time];
          const { status } = reply;
          const body = { ...rest, access_token: rest.access_token === token };
          return JSON.stringify({ status, body, payload }).replaceAll(name, '');
        }),
      );
      expect(claims[0]).to.contain('pull');
      expect([...new Set(claims)]).to.have.length(1);
    }
  });

  it('with a wrong password are rejected everywhere, even where no password is needed', async () => {
    const wrong = [basic('alice', 'wrong'), basic('nobody', 'x'), { authorization: 'Digest x' }];
    const everywhere = [...paths('open'), ...paths('secret/all'), '/v2/', '/v2/_catalog', '/v2/x'];
    for (const headers of wrong) {
      for (const path of everywhere) {
        const { status, code, headers: got } = await registry.get(path, headers);
        expect([status, code], path).to.deep.equal([401, 'UNAUTHORIZED']);
        const isBase = path === '/v2/';
        expect(got['www-authenticate'], path).to.equal(
          isBase ? challenge() : `${challenge(scopeOf(path))}, ${BASIC}`,
        );
        expect(got.vary).to.equal('Authorization');
      }
    }
    expect(registry.refused).to.include('alice').and.to.include('nobody');
  }).timeout(20_000);

  it('are sent to the token endpoint by /v2/ alone, with or without a login, if there are passwords', async () => {
    const asOnes = async (agent: string | undefined, more: Record<string, string> = {}) => {
      const headers = { ...(agent && { 'user-agent': agent }), ...more };
      const { status, headers: got } = await registry.get('/v2/', headers);
      // Docker's engine answers each scheme that it finds here, and has none for Basic without a password.
      expect(got['www-authenticate']).to.equal(status === 401 ? challenge() : undefined);
      return status;
    };
    const agents = ['containers/5.24.1 (github.com/containers/image)', 'docker/24.0.7', undefined];
    for (const yamlText of [yaml(), `registry: {htpasswd: ${passwords}}`]) {
      await reopen(yamlText);
      const [ofNobody, ofBob] = [await token(NOBODY), await token(BOB)];
      for (const agent of agents) {
        expect(await asOnes(agent), agent).to.equal(401);
        expect(await asOnes(agent, ALICE), agent).to.equal(200);
        // What some send when they have no password to give.
        expect(await asOnes(agent, basic('', '')), agent).to.equal(200);
        for (const bearer of [ofNobody, ofBob]) expect(await asOnes(agent, bearer)).to.equal(200);
      }
    }
  });

  it('with an empty name and an empty password are anonymous', async () => {
    await reopen(yaml());
    expect(await statuses('open', basic('', ''))).to.deep.equal([200, 404]);
    expect(await statuses('secret/all', basic('', ''))).to.deep.equal([401]);
  });

  it('need a login for everything when anonymous access is off', async () => {
    await reopen(yaml(', anonymous: false'));
    for (const path of [...paths('open'), ...paths('x'), '/v2/', '/v2/_catalog']) {
      for (const headers of [NOBODY, basic('', '')]) {
        expect((await registry.get(path, headers)).status, path).to.equal(401);
      }
    }
    const refused = await registry.get('/v2/token?scope=repository:open:pull');
    expect([refused.status, refused.headers['www-authenticate']]).to.deep.equal([401, BASIC]);
    expect(await statuses('open', BOB)).to.deep.equal([200, 404]);
    expect(await statuses('open', await token(BOB, 'open'))).to.deep.equal([200, 404]);
    expect((await registry.get('/v2/', BOB)).status).to.equal(200);
    const { headers } = await registry.get(`/v2/open/blobs/${LAYER}`, BOB);
    expect(headers['cache-control']).to.equal('private, max-age=31536000, immutable');
  });
});

const ROUNDS = 4;

describe('the response time', function () {
  this.timeout(180_000);
  let registry: TestRegistry;
  let agent: Agent;

  before(async () => {
    const root = tempDir();
    const passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { bob: 'b-secret' });
    const yaml = `registry: {htpasswd: ${passwords}}\n${REPOSITORIES}`;
    registry = await TestRegistry.open(root, { yaml });
    const content = new TestContent();
    await registry.drop('secret/alice', content, [{ image: content.image(), tag: '1' }]);
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
  });
  after(async () => {
    agent.destroy();
    await registry.close();
    removeTempDirs();
  });

  /** A machine that does other things makes differences that are gone the next time; a leak does not. */
  async function areAlike(count: number, ...asked: [string, Record<string, string>][]) {
    for (let round = 1; round <= ROUNDS; round++) {
      if (await areMediansAlike(count, asked)) return true;
    }
    return false;
  }

  /** Of requests that are asked in turn, so that what disturbs one disturbs both. */
  async function areMediansAlike(
    count: number,
    asked: readonly [string, Record<string, string>][],
  ) {
    const times: number[][] = asked.map(() => []);
    for (let n = 0; n < count; n++) {
      for (const [at, [path, headers]] of asked.entries()) {
        const began = performance.now();
        await registry.ask(path, { headers, agent });
        // The first ones warm up.
        if (n >= count / 10) times[at]?.push(performance.now() - began);
      }
    }
    const [one = 0, other = 0] = times.map(
      (all) => all.sort((a, b) => a - b)[all.length >> 1] ?? 0,
    );
    return Math.abs(one - other) <= Math.max(0.25 * Math.max(one, other), 0.15);
  }

  it('is the same for a forbidden and for a missing repository', async () => {
    const scopes = ['alice', 'nobod'].map((name) => `scope=repository:secret/${name}:pull`);
    const tokens = await Promise.all(
      [NOBODY, BOB].map(async (headers) => {
        const { json } = await registry.get(`/v2/token?${scopes.join('&')}`, headers);
        return { authorization: `Bearer ${(json as { token: string }).token}` };
      }),
    );
    const who: Record<string, string>[] = [NOBODY, BOB, ...tokens];
    for (const headers of who) {
      for (const rest of ['manifests/1', `blobs/${LAYER}`, 'tags/list']) {
        const alike = await areAlike(
          350,
          [`/v2/secret/alice/${rest}`, headers],
          [`/v2/secret/nobod/${rest}`, headers],
        );
        expect(alike, rest).to.equal(true);
      }
    }
  });

  it('is the same for a token for a forbidden and for a missing repository', async () => {
    const token = (name: string) => `/v2/token?scope=repository:secret/${name}:pull`;
    for (const headers of [NOBODY, BOB]) {
      const alike = await areAlike(350, [token('alice'), headers], [token('nobod'), headers]);
      expect(alike).to.equal(true);
    }
  });

  it('is the same for an unknown user and for a wrong password', async () => {
    const bob: [string, Record<string, string>] = ['/v2/', basic('bob', 'x')];
    expect(await areAlike(200, bob, ['/v2/', basic('nob', 'x')])).to.equal(true);
  });
});
