/** Which endpoint settings a reload changes, and when. */
import { join } from 'node:path';
import { expect } from 'chai';
import { openRegistry } from '#src/daemon/registry.js';
import { ask } from '../support/ask.js';
import { writeHtpasswd } from '../support/passwords.js';
import { testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('endpoint settings', () => {
  after(removeTempDirs);

  it('use one settings value per request, and the new one after a reload', async () => {
    const services = await testServices(tempDir(), { yaml: 'registry: {listen: "127.0.0.1:0"}' });
    const { roots, run, log } = services;
    const settings = () => services.settings;
    const registry = await openRegistry(
      { settings, roots, run, log, version: '1.2.3', inherited: [] },
      'throw',
    );
    const status = async () => (await ask(registry.urls[0] ?? '', '/v2/')).status;
    try {
      expect(await status()).to.equal(200);
      services.reload({ registry: { ...services.settings.registry, anonymous: false } });
      expect(await status()).to.equal(200);
      await registry.reload();
      expect(await status()).to.equal(401);
    } finally {
      await registry.close();
      await services.close();
    }
  });

  describe('with passwords', () => {
    /** What is logged at warn and error when the endpoint starts with these settings. */
    const linesOf = async (registry: string, repositories = '{}', hasFile = true) => {
      const root = tempDir();
      const htpasswd = join(root, 'htpasswd');
      if (hasFile) writeHtpasswd(htpasswd, { alice: 'secret' });
      const yaml = `registry: {listen: null, htpasswd: ${htpasswd}${registry}}\nrepositories: ${repositories}\n`;
      const services = await testServices(root, { yaml });
      const { roots, run, log } = services;
      const settings = () => services.settings;
      const opened = await openRegistry(
        { settings, roots, run, log, inherited: [], version: '1' },
        'throw',
      );
      await opened.close();
      await services.close();
      return services.lines
        .filter(({ level }) => level !== 'info')
        .map(({ level, event, fields }) => `${level} ${event} ${fields.message ?? fields.what}`);
    };
    const PUBLIC = 'warn registry.public passwords are configured, but every repository is public';

    it('warn at start when every repository is public', async () => {
      expect(await linesOf('')).to.include(PUBLIC);
      expect(await linesOf('', '{a: {protected: false}}')).to.include(PUBLIC);
    });

    it('do not warn when something is protected', async () => {
      for (const given of [
        await linesOf(', anonymous: false'),
        await linesOf('', '{"team/**": {protected: true}}'),
        await linesOf('', '{app: {readers: [alice]}}'),
      ]) {
        expect(given).to.not.include(PUBLIC);
      }
    });

    it('report at start that their file is missing', async () => {
      const lines = await linesOf(', anonymous: false', '{}', false);
      expect(lines.join('\n')).to.match(/^error registry\.error .*htpasswd/m);
    });
  });
});
