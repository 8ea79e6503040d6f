/** The periodic tasks of the daemon: it retries after errors, and exits on a bug. */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cleanAll } from '#src/daemon/upkeep.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../support/deliver.js';
import { type Interference, interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { testDaemon, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('periodic maintenance of the daemon', () => {
  let running: Awaited<ReturnType<typeof testDaemon>> | undefined;
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    removeTempDirs();
  });

  /** @param atSweep what becomes of each look at the content store */
  const start = async (atSweep: Interference) => {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'));
    const disk = interfereWith(nodeDisk, (operation) => {
      if (operation.verb === 'list' && operation.paths.endsWith('state/content')) {
        atSweep(operation);
      }
    });
    running = await testDaemon(root, { disk, yaml: 'retention: {interval: 1s}\n' });
    return running;
  };

  it('is retried after a system error', async () => {
    let looks = 0;
    const { services, daemon } = await start((operation) => {
      if (++looks === 1) throw systemError('EIO', operation);
    });
    let bug: unknown;
    daemon.failed.catch((error) => {
      bug = error;
    });
    await waitFor('the next cleaning', () => looks >= 2);
    const warnings = services.lines.filter(({ event }) => event === 'daemon.warning');
    expect(warnings.map(({ fields }) => fields.code)).to.deep.equal(['EIO']);
    expect(bug).to.equal(undefined);
  });

  it('uses the settings of the last reload', async () => {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'));
    const services = await testServices(root, { disk: nodeDisk, yaml: 'retention: {grace: 0s}\n' });
    const snapshots = () => readdirSync(join(root, 'published', 'master', 'app')).length;
    try {
      await services.run(prepareInbox, { inbox: services.inbox });
      for (const tag of ['1', '2', '3']) {
        makeLayout(dropPath(root, `app:${tag}`), { layers: [tag], tag });
        await deliver(services, `app:${tag}`);
      }
      await cleanAll(services);
      expect(snapshots()).to.equal(3);
      services.reload({ retention: { ...services.settings.retention, keep: 1 } });
      await cleanAll(services);
      expect(snapshots()).to.equal(1);
    } finally {
      await services.close();
    }
  });

  it('ends the daemon on a bug', async () => {
    const { daemon } = await start(() => {
      throw new Error('made up');
    });
    const failure = await daemon.failed.catch((error: Error) => error);
    expect(failure).to.have.property('message', 'made up');
  });
});
