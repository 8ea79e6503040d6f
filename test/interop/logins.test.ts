/**
 * Goal: with passwords and public read access in one configuration, each common client is rejected at
 * login with a wrong password, pulls public repositories without a login, and pulls protected ones with a
 * login. No client can distinguish a protected repository from a missing one.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ask } from '../support/ask.js';
import { Containerd } from '../support/containerd.js';
import { DaemonProcess, QUICK } from '../support/daemon-process.js';
import { DockerEngine, needDockerEngine } from '../support/docker-engine.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { makeRealImage, needTools, tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';
import { nginxInTurns, nginxWithDropdock, type WebServer } from '../support/web-servers.js';

const PUBLIC = 'open:1.0';
const PROTECTED = 'secret/app:1.0';
const ABSENT = 'secret/axx:1.0';

describe('logins', function () {
  this.timeout(180_000);
  let root: string;
  let yaml: string;
  let daemon: DaemonProcess;
  let digest: string;

  before(async function () {
    needTools(this, 'umoci');
    root = tempDir();
    const passwords = join(root, 'htpasswd');
    writeHtpasswd(passwords, { alice: 'wonder' });
    mkdirSync(join(root, 'inbox', 'secret'), { recursive: true });
    const registry = `registry: {listen: "127.0.0.1:0", htpasswd: ${passwords}}\n`;
    const repositories = 'repositories: {"secret/**": {protected: true}}\n';
    yaml = QUICK + registry + repositories;
    daemon = await DaemonProcess.start(root, { yaml });
    // Not the same bytes: what a client has from the one is no pull of the other.
    for (const [name, mark] of [
      [PUBLIC, 'public'],
      [PROTECTED, 'protected'],
    ] as const) {
      const layout = makeRealImage(tempDir(), mark);
      digest = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests[0].digest;
      renameSync(layout, join(root, 'inbox', name));
      await waitFor(name, () => daemon.output.includes(`publish.done repo=${name.split(':')[0]}`));
    }
  });
  after(async () => {
    await daemon?.stop();
    removeTempDirs();
  });

  const at = (name: string) => `${daemon.registry}/${name}`;
  const failure = (output: Promise<string>): Promise<string> =>
    output.then(
      (text) => `it succeeded: ${text}`,
      (error) => (error as Error).message.replaceAll(/app|axx/g, ''),
    );
  /** The error for a protected and for a missing repository, for a client without access to either. */
  async function expectAlike(pull: (name: string) => Promise<string>, text: RegExp): Promise<void> {
    const [forbidden, absent] = [await failure(pull(PROTECTED)), await failure(pull(ABSENT))];
    expect(forbidden).to.match(text);
    const steady = (said: string) => said.replaceAll(/time="[^"]*"|sha256:\w+/g, '');
    expect(steady(forbidden)).to.equal(steady(absent));
  }

  describe('of Docker', () => {
    let engine: DockerEngine;
    before(async function () {
      needDockerEngine(this);
      engine = await DockerEngine.start(tempDir());
    });
    after(() => engine?.stop());

    const login = (person: string, password: string) =>
      engine.as(person)('login', '--username=alice', `--password=${password}`, daemon.registry);
    const pull = (person: string, name: string) => engine.as(person)('pull', at(name));
    const remove = (name: string) => engine.as('nobody')('image', 'rm', at(name));

    it('fail with a wrong password', async () => {
      expect(await failure(login('wrong', 'guess'))).to.match(/unauthorized/);
      // And leave nothing behind: what is public can be pulled as before.
      await pull('wrong', PUBLIC);
      await expectAlike((name) => pull('wrong', name), /pull access denied .* 'docker login'/);
    });

    it('are not needed for public repositories', async () => {
      await pull('nobody', PUBLIC);
      await expectAlike((name) => pull('nobody', name), /pull access denied .* 'docker login'/);
    });

    it('give access to both repositories with the password', async () => {
      expect(await login('alice', 'wonder')).to.contain('Login Succeeded');
      expect(await pull('alice', PROTECTED)).to.contain(digest);
      await pull('alice', PUBLIC);
      await remove(PROTECTED);
      await pull('alice', PROTECTED.replace(/:1\.0$/, `@${digest}`));
    });

    it('with an outdated password fail everywhere, and for another registry nowhere', async () => {
      const store = (person: string, registry: string) => {
        engine.as(person);
        const auth = Buffer.from('alice:guess').toString('base64');
        const path = join(engine.place, `config-${person}`, 'config.json');
        writeFileSync(path, JSON.stringify({ auths: { [registry]: { auth } } }));
      };
      store('stale', daemon.registry);
      expect(await failure(pull('stale', PUBLIC))).to.match(/unauthorized/);
      store('elsewhere', 'registry.example.com');
      await pull('elsewhere', PUBLIC);
    });
  });

  describe('of containerd', () => {
    let containerd: Containerd;
    before(async function () {
      needTools(this, 'containerd', 'ctr');
      containerd = await Containerd.start(tempDir());
    });
    after(() => containerd?.stop());

    const pull = (name: string, ...given: string[]) =>
      containerd.ctr('content', 'fetch', '--plain-http', '--all-platforms', ...given, at(name));

    it('reject a wrong password, are optional for public repositories, and give access with the password', async () => {
      expect(await failure(pull(PROTECTED, '--user=alice:guess'))).to.match(/401 Unauthorized/);
      await pull(PUBLIC);
      await expectAlike((name) => pull(name), /authorization failed/);
      await pull(PROTECTED, '--user=alice:wonder');
      expect(await containerd.ctr('images', 'ls')).to.contain(digest);
      expect(await failure(pull(ABSENT, '--user=alice:wonder'))).to.match(/not found/);
    });
  });

  for (const name of ['podman', 'buildah', 'skopeo'] as const) {
    describe(`of ${name}`, () => {
      let place: string;
      before(function () {
        needTools(this, name);
        place = tempDir();
      });

      const logins = (person: string) => `--authfile=${join(place, `${person}.json`)}`;
      const insecure = '--tls-verify=false';
      const run = (...given: string[]) => {
        const storage = ['--root', join(place, 'root'), '--runroot', join(place, 'run')];
        return name === 'skopeo'
          ? tool(name, ...given)
          : tool(name, ...storage, '--storage-driver=vfs', ...given);
      };
      const login = (person: string, password: string) =>
        run(
          'login',
          insecure,
          logins(person),
          '--username=alice',
          `--password=${password}`,
          daemon.registry,
        );
      const pull = async (person: string, image: string) => {
        if (person === 'nobody') writeFileSync(join(place, 'nobody.json'), '{}');
        return name === 'skopeo'
          ? run('inspect', insecure, logins(person), `docker://${at(image)}`)
          : run('pull', insecure, logins(person), at(image));
      };

      it('reject a wrong password, are optional for public repositories, and give access with the password', async () => {
        expect(await failure(login('wrong', 'guess'))).to.match(/invalid username\/password/);
        await pull('nobody', PUBLIC);
        await expectAlike((image) => pull('nobody', image), /unauthorized/);
        expect(await login('alice', 'wonder')).to.contain('Login Succeeded!');
        await pull('alice', PROTECTED);
        await pull('alice', PUBLIC);
        const absent = await failure(pull('alice', ABSENT));
        expect(absent).to.match(/name unknown|repository name not known/);
      });
    });
  }

  it('of curl work with a password sent up front and after a challenge', async function () {
    needTools(this, 'curl');
    const get = (name: string, ...given: string[]) =>
      tool('curl', '-sSf', ...given, `${daemon.url}/v2/${name.split(':')[0]}/tags/list`);
    expect(await get(PUBLIC)).to.contain('1.0');
    for (const how of [[], ['--anyauth']]) {
      expect(await get(PROTECTED, ...how, '-u', 'alice:wonder')).to.contain('1.0');
      expect(await failure(get(PROTECTED, ...how, '-u', 'alice:guess'))).to.contain('401');
    }
    expect(await failure(get(PROTECTED))).to.contain('401');
    expect(await failure(get(ABSENT))).to.contain('401');
  });

  it('through the shipped nginx configuration get tokens at the address the client used', async function () {
    needTools(this, 'nginx', 'skopeo');
    const nginx = await nginxWithDropdock(join(root, 'published'), daemon.registry);
    try {
      const { headers } = await ask(nginx.url, '/v2/');
      expect(headers['www-authenticate']).to.contain(`realm="${nginx.url}/v2/token"`);
      const form = { grant_type: 'password', username: 'alice', password: 'wonder' };
      const posted = { method: 'POST', body: String(new URLSearchParams(form)) };
      expect((await ask(nginx.url, '/v2/token', posted)).status).to.equal(200);
      await inspect(nginx, PROTECTED, '--creds=alice:wonder');
      await inspect(nginx, PUBLIC, '--no-creds');
      expect(await failure(inspect(nginx, PROTECTED, '--no-creds'))).to.match(/unauthorized/);
    } finally {
      await nginx.stop();
    }
  });

  it('at several endpoints in turn work with a shared key', async function () {
    needTools(this, 'nginx', 'skopeo');
    const own = { yaml, command: 'serve', config: 'serve.yaml' } as const;
    const second = await DaemonProcess.start(root, own);
    const nginx = await nginxInTurns([daemon.registry, second.registry]);
    try {
      for (let n = 0; n < 4; n++) await inspect(nginx, PROTECTED, '--creds=alice:wonder');
    } finally {
      await nginx.stop();
      await second.stop();
    }
  });

  const inspect = ({ url }: WebServer, name: string, ...given: string[]) =>
    tool(
      'skopeo',
      'inspect',
      '--tls-verify=false',
      ...given,
      `${url.replace('http:', 'docker:')}/${name}`,
    );
});
