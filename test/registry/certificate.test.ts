/** TLS: a renewed certificate is loaded without a restart, and a broken one never is. */
import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { expect } from 'chai';
import { openRegistry, type Registry, type RegistryOptions } from '#src/daemon/registry.js';
import { CertificateWatch } from '#src/registry/certificate.js';
import { ask } from '../support/ask.js';
import { type CertificateFiles, makeCertificate, trusting } from '../support/certificate.js';
import { type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools } from '../support/tools.js';

function registryOptions(services: TestServices): RegistryOptions {
  return { ...services, settings: () => services.settings, version: '1.2.3', inherited: [] };
}

describe('the certificate', () => {
  let made: CertificateFiles[];
  let directory: string;
  let files: CertificateFiles;

  before(async function () {
    needTools(this, 'openssl');
    const away = tempDir();
    made = await Promise.all(['first', 'second'].map((name) => makeCertificate(away, name)));
  });
  after(removeTempDirs);
  beforeEach(() => {
    directory = join(tempDir(), 'tls');
    mkdirSync(directory);
    files = { certificate: join(directory, 'it.pem'), key: join(directory, 'it.key') };
    put(0, 'certificate');
    put(0, 'key');
  });

  /** Replaces a file as renewal tools do: by a rename. */
  function put(which: 0 | 1, what: keyof CertificateFiles): void {
    copyFileSync(made[which]?.[what] ?? '', `${files[what]}.new`);
    renameSync(`${files[what]}.new`, files[what]);
  }

  describe('as files on disk', () => {
    const readError = (watch: CertificateWatch) =>
      watch.readIfChanged().then(
        () => undefined,
        (error: NodeJS.ErrnoException) => error.code,
      );

    it('is read once per change', async () => {
      const watch = new CertificateWatch(files);
      expect(await watch.readIfChanged()).to.have.keys('cert', 'key');
      expect(await watch.readIfChanged()).to.equal(undefined);
      put(1, 'certificate');
      put(1, 'key');
      expect(await watch.readIfChanged()).to.have.keys('cert', 'key');
      expect(await watch.readIfChanged()).to.equal(undefined);
    });

    it('is not loaded while the key does not match, which is logged once', async () => {
      const watch = new CertificateWatch(files);
      await watch.readIfChanged();
      put(1, 'certificate');
      expect(await readError(watch)).to.equal('settings.invalid');
      expect(await watch.readIfChanged()).to.equal(undefined);
      put(1, 'key');
      expect(await watch.readIfChanged()).to.have.keys('cert', 'key');
    });

    it('is not loaded with a key of another type, as after a change from EC to RSA', async () => {
      const watch = new CertificateWatch(files);
      await watch.readIfChanged();
      const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
      writeFileSync(files.key, rsa.export({ type: 'pkcs8', format: 'pem' }));
      expect(await readError(watch)).to.equal('settings.invalid');
    });

    it('is not loaded when it is missing, empty or not PEM, and is loaded once it is valid again', async () => {
      const watch = new CertificateWatch(files);
      await watch.readIfChanged();
      for (const spoil of [
        () => rmSync(files.key),
        () => writeFileSync(files.key, ''),
        () => writeFileSync(files.key, 'no key'),
        () => writeFileSync(files.certificate, 'no certificate'),
      ]) {
        spoil();
        expect(await readError(watch)).to.be.a('string');
        expect(await watch.readIfChanged()).to.equal(undefined);
      }
      put(0, 'key');
      await readError(watch);
      put(0, 'certificate');
      expect(await watch.readIfChanged()).to.have.keys('cert', 'key');
    });
  });

  describe('of a running endpoint', () => {
    let services: TestServices;
    let registry: Registry;
    beforeEach(async () => {
      const { certificate, key } = files;
      const yaml = `registry: {listen: "127.0.0.1:0", certificate: ${certificate}, key: ${key}}`;
      services = await testServices(tempDir(), { yaml });
      registry = await openRegistry(registryOptions(services), 'throw');
    });
    afterEach(async () => {
      await registry.close();
      await services.close();
    });

    /** The subject of the certificate that a new connection is shown. */
    function shown(): Promise<string> {
      const { hostname, port } = new URL(registry.urls[0] ?? '');
      return new Promise((resolve, reject) => {
        const options = { host: hostname, port: Number(port), rejectUnauthorized: false };
        const socket = connect(options, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on('error', reject);
      });
    }
    const events = () => services.lines.map(({ level, event }) => `${level} ${event}`);

    it('is the one that clients are told to trust', async () => {
      const [url = '', first] = [registry.urls[0], made[0] as CertificateFiles];
      expect(url).to.match(/^https:\/\/127/);
      expect((await ask(url, '/v2/', trusting(first))).status).to.equal(200);
      const other = await ask(url, '/v2/', trusting(made[1] as CertificateFiles)).catch(
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(other).to.match(/SELF_SIGNED|DEPTH_ZERO/);
      const plain = await ask(url.replace('https', 'http'), '/v2/').catch(() => 'refused');
      expect(plain).to.equal('refused');
    });

    it('is replaced for new connections once both new files are in place, and not before', async () => {
      put(1, 'key');
      await registry.reload();
      expect(await shown()).to.equal('first');
      expect(events()).to.include('warn registry.error');
      put(1, 'certificate');
      await registry.reload();
      expect(await shown()).to.equal('second');
      expect(events()).to.include('info registry.reloaded');
    });

    it('stays in use when the files become invalid', async () => {
      writeFileSync(files.certificate, '-----BEGIN CERTIFICATE-----\nAAAA\n');
      await registry.reload();
      expect(await shown()).to.equal('first');
      rmSync(files.certificate);
      await registry.reload();
      expect(await shown()).to.equal('first');
    });
  });

  for (const [what, spoil] of [
    ['does not match its key', () => put(1, 'key')],
    ['is missing', () => rmSync(files.certificate)],
  ] as const) {
    it(`that ${what} stops the endpoint from listening without TLS, but not the daemon`, async () => {
      spoil();
      const { certificate, key } = files;
      const yaml = `registry: {listen: "127.0.0.1:0", certificate: ${certificate}, key: ${key}}`;
      const services = await testServices(tempDir(), { yaml });
      const options = registryOptions(services);
      const failure = await openRegistry(options, 'throw').catch(
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(failure).to.match(/settings.invalid|ENOENT/);
      const registry = await openRegistry(options, 'retry');
      expect(registry.urls).to.deep.equal([]);
      const events = services.lines.map(({ level, event }) => `${level} ${event}`);
      expect(events).to.deep.equal(['error registry.failed']);
      await registry.close();
      await services.close();
    });
  }
});
