/** Which endpoint settings a reload changes, and when. */
import { expect } from 'chai';
import { openRegistry } from '#src/daemon/registry.js';
import { ask } from '../support/ask.js';
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
});
