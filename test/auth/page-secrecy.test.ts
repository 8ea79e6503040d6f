/** On the page, too, a client without access cannot distinguish a forbidden repository from a missing one. */
import { request as ask } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { basic, type Reply } from '../support/ask.js';
import { FakeDaemon, knownDrop } from '../support/fake-daemon.js';
import { TestContent } from '../support/make-image.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, steadyHeaders, TestRegistry } from '../support/test-registry.js';
import { waitFor } from '../support/wait-for.js';

const ALICE = basic('alice', 'a-secret');
const BOB = basic('bob', 'b-secret');
const REPOSITORIES =
  'repositories:\n  secret/**: {protected: true}\n  secret/alice: {readers: [alice]}\n';
/** The image that all of them have. */
const IMAGE = new TestContent().image();
const PINNED = `@${IMAGE.digest}`;
const rejected = { kind: 'rejected', state: 'rejected', reason: 'why-so' } as const;
const DROPS = [
  knownDrop('open', rejected),
  knownDrop('secret/all', rejected),
  knownDrop('secret/alice', rejected),
  // It may be one or the other.
  knownDrop('open.tar', { ...rejected, repositories: ['open', 'secret/alice'] as never }),
  knownDrop('team/@bundle.tar', { ...rejected, repositories: [] }),
];

describeOver('visitors of the page', () => {
  let registry: TestRegistry;
  let passwords: string;
  const daemon = new FakeDaemon();

  before(async () => {
    const root = tempDir();
    passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'a-secret', bob: 'b-secret' });
    registry = await TestRegistry.open(root, { yaml: yaml(), page: { daemon } });
    const content = new TestContent();
    const image = content.image();
    for (const name of ['open', 'secret/all', 'secret/alice']) {
      await registry.drop(name, content, [{ image, tag: '1' }]);
    }
    daemon.set(...DROPS);
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  const yaml = (more = '') => `registry: {htpasswd: ${passwords}${more}}\n${REPOSITORIES}`;
  async function reopen(text: string): Promise<void> {
    const { root } = registry;
    await registry.close();
    registry = await TestRegistry.open(root, { yaml: text, page: { daemon } });
  }
  const names = ({ body }: Reply) =>
    [...body.toString('utf8').matchAll(/\/-\/tags\/([a-z/]+)"/g)].map(([, name]) => name);
  const drops = ({ body }: Reply) =>
    [...body.toString('utf8').matchAll(/<th scope="row"[^>]*><bdi>([^<]*)</g)].map(
      ([, name]) => name,
    );

  it('see the repositories they may read, and no trace of the others', async () => {
    const seen = async (headers = {}) => names(await registry.get('/', headers));
    expect(await seen()).to.deep.equal(['open']);
    expect(await seen(BOB)).to.deep.equal(['open', 'secret/all']);
    expect(await seen(ALICE)).to.deep.equal(['open', 'secret/alice', 'secret/all']);
    const home = (await registry.get('/')).body.toString();
    expect(home).to.contain('1 repository').and.contain('/?sign-in').and.not.contain('secret');
    expect(names(await registry.get('/?q=secret'))).to.deep.equal([]);
  });

  it('see the drops of repositories they may read; only readers of everything see unnamed ones', async () => {
    const seen = async (headers = {}) => drops(await registry.get('/-/inbox', headers));
    expect(await seen()).to.deep.equal(['open']);
    expect(await seen(BOB)).to.deep.equal(['open', 'secret/all']);
    expect(await seen(ALICE)).to.deep.equal(DROPS.map(({ drop }) => drop));
    const inbox = (await registry.get('/-/inbox')).body.toString();
    expect(inbox)
      .to.contain('1 rejected')
      .and.not.match(/secret|bundle/);
  });

  it('get the same answer for a forbidden and for a missing repository', async () => {
    for (const headers of [{}, BOB]) {
      for (const [view, rest = ''] of [['tags'], ['history'], ['image', ':1'], ['image', PINNED]]) {
        const forbidden = await registry.get(`/-/${view}/secret/alice${rest}`, headers);
        const absent = await registry.get(`/-/${view}/secret/absent${rest}`, headers);
        expect(forbidden.status).to.equal(headers === BOB ? 404 : 401);
        expect(steadyHeaders(forbidden)).to.deep.equal(steadyHeaders(absent));
        expect(forbidden.body.equals(absent.body)).to.equal(true);
      }
    }
    for (const path of ['/-/tags/secret/alice', '/-/image/secret/alice:1']) {
      expect((await registry.get(path, ALICE)).status).to.equal(200);
    }
  });

  it('are led from a typed name to its page, whether it exists or not', async () => {
    const html = { accept: 'text/html' };
    const forbidden = await registry.get('/secret/alice', html);
    const absent = await registry.get('/secret/absent', html);
    expect([forbidden.status, absent.status]).to.deep.equal([303, 303]);
  });

  it('find the tags of repositories they may read only', async () => {
    const found = async (headers = {}) => {
      const text = (await registry.get(`/?q=${PINNED.slice(1)}`, headers)).body.toString();
      return [...text.matchAll(/\/-\/image\/([a-z/]+):1"/g)].map(([, name]) => name);
    };
    expect(await found()).to.deep.equal(['open']);
    expect(await found(BOB)).to.deep.equal(['open', 'secret/all']);
    expect(await found(ALICE)).to.deep.equal(['open', 'secret/alice', 'secret/all']);
  });

  it('see the path of the inbox only if they may read everything', async () => {
    const help = async (headers = {}) => (await registry.get('/-/help', headers)).body.toString();
    expect(await help(ALICE)).to.contain(`oci:${join(registry.root, 'inbox')}/alpine`);
    for (const headers of [{}, BOB]) {
      expect(await help(headers))
        .to.contain('oci:INBOX/alpine')
        .and.not.contain(registry.root);
    }
  });

  it('sign in at the site root, so that the browser sends the password to every page', async () => {
    const asked = await registry.get('/?sign-in');
    expect(asked.status).to.equal(401);
    expect(asked.headers['www-authenticate']).to.match(/^Basic /);
    expect((await registry.get('/?sign-in', basic('alice', 'wrong'))).status).to.equal(401);
    const entered = await registry.get('/?sign-in', ALICE);
    expect([entered.status, entered.headers.location]).to.deep.equal([303, '/']);
    const home = (await registry.get('/', ALICE)).body.toString();
    expect(home).to.contain('Signed in as').and.not.contain('/?sign-in');
    expect((await registry.get('/', basic('alice', 'wrong'))).status).to.equal(401);
    expect(registry.refused).to.include('alice');
  });

  it('get 401 and only static assets without a login when anonymous access is off', async () => {
    await reopen(yaml(', anonymous: false'));
    for (const path of ['/', '/-/inbox', '/-/live', '/-/tags/open', '/-/help', '/-/nothing']) {
      const reply = await registry.get(path);
      expect(reply.status, path).to.equal(401);
      expect(reply.body.toString()).to.not.match(/open<|why-so|1\.2\.3/);
    }
    expect((await registry.get('/-/page.css')).status).to.equal(200);
    expect(names(await registry.get('/', BOB))).to.include('open');
    await reopen(yaml());
  });

  it('cannot see protected repositories where there are no passwords', async () => {
    await reopen('repositories:\n  secret/**: {protected: true}\n');
    expect(names(await registry.get('/'))).to.deep.equal(['open']);
    expect(drops(await registry.get('/-/inbox'))).to.deep.equal(['open']);
    expect((await registry.get('/')).body.toString()).to.not.contain('sign-in');
    await reopen(yaml());
  });

  it('receive no events they may not see, and none after they lose access', async () => {
    const listen = (headers = {}) => {
      const stream = { got: '', ended: false };
      ask(`${registry.server.url}/-/live`, { headers }, (response) => {
        response.on('data', (data) => {
          stream.got += data;
        });
        response.on('end', () => {
          stream.ended = true;
        });
      }).end();
      return stream;
    };
    const [nobody, alice] = [listen(), listen(ALICE)];
    await waitFor('all of it', () => alice.got.includes('5 rejected'));
    await waitFor('what is for all', () => nobody.got.includes('1 rejected'));
    expect(nobody.got).to.not.match(/secret|bundle/);
    const before = nobody.got.split('event:').length;
    daemon.set(...DROPS, knownDrop('secret/all', { ...rejected, reason: 'new' }));
    await waitFor('the new one', () => alice.got.includes('6 rejected'));
    expect(nobody.got.split('event:').length, 'not even that something changed').to.equal(before);
    writeHtpasswd(passwords, { bob: 'b-secret' });
    await waitFor('the end', () => {
      daemon.set(...DROPS);
      return alice.ended;
    });
    expect(nobody.ended).to.equal(false);
  });
});
