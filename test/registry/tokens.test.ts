/** How clients get tokens and what the tokens allow, request by request. */
import { request as overTcp } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask, basic, type Reply } from '../support/ask.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { waitFor } from '../support/wait-for.js';

const LAYER = sha256(layerBytes('layer'));
const REPOSITORIES = 'repositories: {"secret/**": {protected: true}, secret/bob: {readers: [bob]}}';
const ALICE = basic('alice', 'a-secret');
const BASIC = 'Basic realm="dropdock", charset="UTF-8"';
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

describe('the token endpoint', () => {
  let registry: TestRegistry;
  let image: TestDescriptor;
  let passwords: string;
  let clockMs: number;

  before(async () => {
    const root = tempDir();
    passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'a-secret', bob: 'b-secret' });
    clockMs = Date.now();
    registry = await TestRegistry.open(root, { yaml: yaml(), clockMs: () => clockMs });
    const content = new TestContent();
    image = content.image();
    for (const name of ['open', 'secret/all', 'secret/bob']) {
      await registry.drop(name, content, [{ image, tag: '1' }]);
    }
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  const yaml = (more = '') => `registry: {htpasswd: ${passwords}${more}}\n${REPOSITORIES}`;
  async function reopen(text = yaml()): Promise<void> {
    const { root } = registry;
    await registry.close();
    registry = await TestRegistry.open(root, { yaml: text, clockMs: () => clockMs });
  }
  const scopes = (...names: string[]) => names.map((name) => `scope=repository:${name}:pull`);
  const getToken = (headers: Record<string, string>, ...names: string[]) =>
    registry.get(`/v2/token?${['service=dropdock', ...scopes(...names)].join('&')}`, headers);
  const post = (form: Record<string, string> | string, headers: Record<string, string> = {}) =>
    registry.ask('/v2/token', {
      method: 'POST',
      headers: { ...FORM, ...headers },
      body: String(typeof form === 'string' ? form : new URLSearchParams(form)),
    });
  const bearer = ({ json }: Reply) => ({
    authorization: `Bearer ${(json as { access_token: string }).access_token}`,
  });
  /** What a pull asks for, in order. */
  const pull = async (name: string, headers: Record<string, string>) => {
    const paths = ['manifests/1', `manifests/${image.digest}`, `blobs/${LAYER}`];
    const got = await Promise.all(
      paths.map((path) => registry.get(`/v2/${name}/${path}`, headers)),
    );
    return [...new Set(got.map(({ status }) => status))].join();
  };
  const challenge = async (path: string, headers: Record<string, string> = {}) =>
    String((await registry.get(path, headers)).headers['www-authenticate']);

  it('is named by /v2/ and by every response that requires a token, with the required scope', async () => {
    const realm = `Bearer realm="${registry.server.url}/v2/token",service="dropdock"`;
    expect(await challenge('/v2/')).to.equal(realm);
    expect(await challenge('/v2/secret/all/manifests/1')).to.equal(
      `${realm},scope="repository:secret/all:pull", ${BASIC}`,
    );
    // As lines of their own, the token first: oras reads the first line.
    const { rawHeaders } = await raw(registry, '/v2/secret/all/tags/list');
    expect(
      rawHeaders.filter((_text, at) => /^www-auth/i.test(rawHeaders[at - 1] ?? '')),
    ).to.have.length(2);
    // The settings say which repository has this id; clients cannot see it.
    expect(await challenge(`/pulp/docker/v2/secret~all/blobs/${LAYER}`)).to.equal(
      `${realm}, ${BASIC}`,
    );
  });

  it('gives anonymous clients a token for public repositories, and for nothing else', async () => {
    const token = bearer(await getToken({}, 'open', 'secret/all'));
    expect(await pull('open', token)).to.equal('200');
    expect(await pull('secret/all', token)).to.equal('401');
    const refused = await challenge('/v2/secret/all/manifests/1', token);
    expect(refused).to.match(
      /^Bearer .*,scope="repository:secret\/all:pull",error="insufficient_scope", Basic/,
    );
  });

  it('gives a user a token by GET and by POST, in a response that clients read alike', async () => {
    const byGet = await getToken(ALICE, 'secret/all');
    const byPost = await post({
      grant_type: 'password',
      username: 'alice',
      password: 'a-secret',
      service: 'dropdock',
      client_id: 'test',
      access_type: 'offline',
      scope: 'repository:secret/all:pull repository:open:pull,push',
    });
    for (const reply of [byGet, byPost]) {
      expect(reply.status).to.equal(200);
      expect(reply.headers).to.include({
        'cache-control': 'no-store',
        'content-type': 'application/json',
        'docker-distribution-api-version': 'registry/2.0',
      });
      const { token, access_token, expires_in } = reply.json as Record<string, unknown>;
      expect([token === access_token, expires_in]).to.deep.equal([true, 900]);
      expect(reply.json).to.not.have.any.keys('refresh_token', 'issued_at');
      expect(await pull('secret/all', bearer(reply))).to.equal('200');
    }
    expect(byPost.json).to.include({
      token_type: 'Bearer',
      scope: 'repository:secret/all:pull repository:open:pull',
    });
    expect(await pull('open', bearer(byPost))).to.equal('200');
  });

  it('gives no token for a wrong password, however it is sent', async () => {
    const wrong = { grant_type: 'password', username: 'alice', password: 'guess' };
    for (const reply of [
      await getToken(basic('alice', 'guess')),
      await getToken(basic('nobody', 'a-secret'), 'open'),
      await getToken({ authorization: 'Bearer x' }),
      await getToken({ authorization: 'Basic ?' }),
      await post(wrong),
      await post({ ...wrong, username: 'nobody' }),
      await post({ ...wrong, scope: 'repository:open:pull' }, ALICE),
      await post({ grant_type: 'refresh_token', refresh_token: 'x' }),
    ]) {
      expect([reply.status, reply.code]).to.deep.equal([401, 'UNAUTHORIZED']);
      expect(reply.headers['www-authenticate']).to.equal(BASIC);
      expect(reply.json).to.not.have.any.keys('token', 'access_token');
    }
    expect(registry.refused).to.include('alice').and.include('nobody');
  });

  it('accepts a form with name and password in the header, or with both empty', async () => {
    const form = { grant_type: 'password', scope: 'repository:secret/all:pull' };
    expect(await pull('secret/all', bearer(await post(form, ALICE)))).to.equal('200');
    const nobody = await post({ ...form, username: '', password: '' });
    expect(await pull('secret/all', bearer(nobody))).to.equal('401');
  });

  it('rejects invalid input, and stops reading', async () => {
    const right = 'grant_type=password&username=alice&password=a-secret';
    expect((await post(right)).status).to.equal(200);
    const long = `${right}&x=${'x'.repeat(17 * 1024)}`;
    for (const body of ['', 'x', right.replace('password', 'authorization_code'), long]) {
      const { status, code } = await post(body);
      expect([status, code], body.slice(0, 40)).to.deep.equal([400, 'UNSUPPORTED']);
    }
    for (const method of ['HEAD', 'PUT', 'DELETE', 'PATCH']) {
      const { status, headers } = await registry.ask('/v2/token', { method });
      expect([status, headers.allow], method).to.deep.equal([405, 'GET, POST']);
    }
    const names = Array.from({ length: 150 }, (_none, at) => `team/a-long-name-${at}`);
    const many = await post({
      grant_type: 'password',
      username: 'alice',
      password: 'a-secret',
      scope: names.map((name) => `repository:${name}:pull`).join(' '),
    });
    expect([many.status, many.code]).to.deep.equal([400, 'UNSUPPORTED']);
    expect((await registry.get('/v2/', ALICE)).status).to.equal(200);
  });

  it('survives a client that disconnects in the middle of its form', async () => {
    const { hostname, port } = new URL(registry.server.url);
    const socket = connect(Number(port), hostname);
    const head = 'POST /v2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant_type=';
    await new Promise((resolve) => socket.write(head, resolve));
    const answered = registry.sent.length;
    socket.destroy();
    await waitFor('its end', () => registry.sent.length > answered);
    expect((await getToken(ALICE)).status).to.equal(200);
    expect(registry.errors).to.deep.equal([]);
  });

  it('issues tokens that are valid for the named repositories, and no others', async () => {
    const token = bearer(await getToken(ALICE, 'secret/all'));
    for (const name of ['open', 'secret/bob', 'absent']) {
      const reply = await registry.get(`/v2/${name}/manifests/1`, token);
      expect([reply.status, reply.code], name).to.deep.equal([401, 'UNAUTHORIZED']);
      expect(reply.headers['www-authenticate']).to.contain(
        `scope="repository:${name}:pull",error="insufficient_scope"`,
      );
    }
    expect((await registry.get('/v2/_catalog', token)).status).to.equal(401);
    const catalog = await registry.get('/v2/token?scope=registry:catalog:*', ALICE);
    const { json } = await registry.get('/v2/_catalog', bearer(catalog));
    expect(json).to.deep.equal({ repositories: ['open', 'secret/all'] });
    expect(await pull('open', bearer(catalog))).to.equal('401');
    // Forbidden to her is absent to her, as with her password.
    const forbidden = bearer(await getToken(ALICE, 'secret/bob'));
    expect(await pull('secret/bob', forbidden)).to.equal('404');
    // By an id it is the same repository.
    const path = `/pulp/docker/v2/secret~all/blobs/${LAYER}`;
    expect((await registry.get(path, token)).status).to.equal(200);
    expect((await registry.get(path, forbidden)).status).to.equal(401);
  });

  it('issues tokens that do not open a page', async () => {
    const token = bearer(await getToken(ALICE, 'secret/all'));
    const { root } = registry;
    await registry.close();
    registry = await TestRegistry.open(root, { yaml: yaml(), page: {} });
    expect((await registry.get('/', token)).status).to.equal(401);
    await reopen();
  });

  it('issues tokens whose responses shared caches do not store', async () => {
    const token = bearer(await getToken(ALICE, 'secret/all'));
    const { headers } = await registry.get(`/v2/secret/all/blobs/${LAYER}`, token);
    expect(headers).to.include({
      'cache-control': 'private, max-age=31536000, immutable',
      vary: 'Authorization',
    });
  });

  it('tells a client with an expired or a forged token to get another', async () => {
    const token = bearer(await getToken(ALICE, 'secret/all', 'open'));
    const denied = registry.refused.length;
    clockMs += 17 * 60_000;
    for (const headers of [
      token,
      { authorization: 'Bearer x' },
      { authorization: 'Bearer a.b.c' },
    ]) {
      for (const path of ['/v2/secret/all/manifests/1', '/v2/open/tags/list', '/v2/_catalog']) {
        const reply = await registry.get(path, headers);
        expect([reply.status, reply.code]).to.deep.equal([401, 'UNAUTHORIZED']);
        expect(reply.headers['www-authenticate']).to.contain('error="invalid_token"');
      }
      expect(await challenge('/v2/', headers)).to.match(/,error="invalid_token"$/);
    }
    // That a token is over is no event.
    expect(registry.refused).to.have.length(denied);
    expect(await pull('secret/all', bearer(await getToken(ALICE, 'secret/all')))).to.equal('200');
  });

  it('issues tokens that end with the password, the user, and the permission to read', async () => {
    const token = bearer(await getToken(ALICE, 'secret/all'));
    await reopen(
      `registry: {htpasswd: ${passwords}}\nrepositories: {"secret/**": {readers: [bob]}}`,
    );
    expect(await pull('secret/all', token)).to.equal('404');
    await reopen();
    expect(await pull('secret/all', token)).to.equal('200');
    writeHtpasswd(passwords, { alice: 'other', bob: 'b-secret' });
    await registry.gate.refresh({ now: true });
    expect(await pull('secret/all', token)).to.equal('401');
    writeHtpasswd(passwords, { alice: 'a-secret', bob: 'b-secret' });
    await registry.gate.refresh({ now: true });
  });

  it('uses the host name that the client or the proxy in front used', async () => {
    const realm = async (headers: Record<string, string>) =>
      /realm="([^"]*)"/.exec(await challenge('/v2/', headers))?.[1];
    const host = 'images.example.com';
    for (const [headers, expected] of [
      [{ host }, `http://${host}/v2/token`],
      [{ host: '[::1]:5000' }, 'http://[::1]:5000/v2/token'],
      [{ host, 'x-forwarded-proto': 'https' }, `https://${host}/v2/token`],
      [{ host, 'x-forwarded-proto': 'https, http' }, `https://${host}/v2/token`],
      [{ host, 'x-forwarded-proto': 'http' }, `http://${host}/v2/token`],
      [{ host: '10.0.0.1:5000', 'x-forwarded-host': host }, `http://${host}/v2/token`],
      [
        { host: 'inner', 'x-forwarded-host': `${host}:8443, outer` },
        `http://${host}:8443/v2/token`,
      ],
      [{ host, 'x-forwarded-host': 'a"b' }, `http://${host}/v2/token`],
      [{ host: 'a/b"c' }, 'http://localhost/v2/token'],
    ] as const) {
      expect(await realm(headers), JSON.stringify(headers)).to.equal(expected);
    }
    await reopen(yaml(', tokenUrl: "https://login.example.com/v2/token"'));
    expect(await realm({ host })).to.equal('https://login.example.com/v2/token');
    await reopen();
  });

  it('is available on a Unix socket', async () => {
    const path = join(registry.root, 'socket');
    const { root } = registry;
    await registry.close();
    registry = await TestRegistry.open(root, { yaml: yaml(), listen: { path } });
    const asked = await ask(path, '/v2/', { headers: { host: 'images.example.com' } });
    expect(asked.headers['www-authenticate']).to.contain('http://images.example.com/v2/token');
    const reply = await ask(path, `/v2/token?${scopes('secret/all')}`, { headers: ALICE });
    const got = await ask(path, '/v2/secret/all/manifests/1', { headers: bearer(reply) });
    expect(got.status).to.equal(200);
    await reopen();
  });

  it('does not exist without passwords: the registry behaves as without tokens', async () => {
    await reopen(REPOSITORIES.replace(', secret/bob: {readers: [bob]}', ''));
    const base = await registry.get('/v2/');
    expect([base.status, base.headers['www-authenticate']]).to.deep.equal([200, undefined]);
    for (const headers of [{}, ALICE, { authorization: 'Bearer x' }]) {
      expect(await pull('open', headers)).to.equal('200');
      const secret = await registry.get('/v2/secret/all/manifests/1', headers);
      expect([secret.status, secret.code]).to.deep.equal([404, 'NAME_UNKNOWN']);
      const token = await registry.get('/v2/token?scope=repository:open:pull', headers);
      expect([token.status, token.code]).to.deep.equal([404, 'NAME_UNKNOWN']);
      const posted = await post({ grant_type: 'password' }, headers);
      expect([posted.status, posted.headers.allow]).to.deep.equal([405, 'GET, HEAD']);
    }
    await reopen();
  });
});

/** With its headers line by line. */
function raw({ server }: TestRegistry, path: string): Promise<{ rawHeaders: string[] }> {
  return new Promise((resolve, reject) => {
    const request = overTcp(`${server.url}${path}`, (response) => {
      response.resume();
      resolve(response);
    });
    request.on('error', reject).end();
  });
}
