/**
 * Goal: a drop that could not be read once is read again soon, and is not treated as incomplete: an
 * incomplete drop would wait for the timeout. Method: one disk operation on a drop fails, in a daemon
 * whose other ways to find it again take longer than the test.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { dropPath } from '../support/deliver.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { receipts, testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const YAML =
  'settle: {quiet: 1ms, timeout: 10m}\nretry: {first: 10ms}\nlock: {stale: 1h}\n' +
  'inbox: {watch: false, scan: 1h}\n';

describe('a drop with one read error', () => {
  after(removeTempDirs);

  it('is examined again after an error during the examination', () =>
    published(({ verb, paths }) => verb === 'open' && paths.endsWith('/index.json read')));

  it('is returned to the inbox after an error during the claim, and claimed again', () =>
    published(({ verb, paths }) => verb !== 'rename' && paths.includes('/.claimed/app')));

  async function published(isHere: (operation: DiskOperation) => boolean): Promise<void> {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'));
    makeLayout(dropPath(root, 'app:1'));
    let hits = 0;
    const disk = interfereWith(nodeDisk, (operation) => {
      if (isHere(operation) && ++hits === 1) throw systemError('EIO', operation);
    });
    const { services, stop } = await testDaemon(root, { disk, yaml: YAML });
    try {
      await waitFor('the receipt', () => receipts(root).length === 1, 5000).catch((error) => {
        throw new Error(`${(error as Error).message}: ${JSON.stringify(services.lines)}`);
      });
    } finally {
      await stop();
    }
    expect(hits).to.be.greaterThan(1);
    const [line] = services.lines.filter(({ event }) => event === 'drop.waiting');
    expect(line?.fields.reason).to.match(/EIO.*next check within 0\.01s/);
  }
});
