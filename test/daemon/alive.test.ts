import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { startDaemon } from '#src/daemon/daemon.js';
import { openServices } from '#src/daemon/services.js';
import { nodeDisk } from '#src/storage/disk.js';
import { handsOf, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const MINUTE_MS = 60_000;

describe('daemon liveness', () => {
  afterEach(removeTempDirs);

  /** What the scan is to do from now on, and a clock that is set. */
  async function start(): Promise<{
    isAlive: () => boolean;
    forward: (ms: number) => void;
    scans: (how: 'well' | 'in vain' | 'for ever') => void;
    scanned: () => number;
    stop: () => Promise<void>;
  }> {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'), { recursive: true });
    const { settings, log, close } = await testServices(root, {
      yaml: 'inbox: {scan: 10ms, watch: false}\n',
    });
    await close();
    const hands = handsOf(nodeDisk);
    let how: 'well' | 'in vain' | 'for ever' = 'well';
    let release: () => void = () => {};
    let count = 0;
    let nowMs = 0;
    const run: typeof hands.run = async (job, request) => {
      if (job.jobName === 'scan') {
        count++;
        if (how === 'in vain') throw Object.assign(new Error('gone'), { code: 'EIO', errno: -5 });
        if (how === 'for ever') {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        }
      }
      return (await hands.run(job, request)) as never;
    };
    const services = await openServices(() => settings, log, { run, close: hands.close });
    const daemon = await startDaemon({ ...services, monotonicMs: () => nowMs });
    return {
      isAlive: daemon.isAlive,
      forward: (ms) => {
        nowMs += ms;
      },
      scans: (next) => {
        how = next;
      },
      scanned: () => count,
      stop: async () => {
        how = 'well';
        release();
        await daemon.stop();
        await services.close();
      },
    };
  }

  it('depends on inbox scans that finish, even with an error', async () => {
    const { isAlive, forward, scans, scanned, stop } = await start();
    for (const how of ['well', 'in vain', 'well'] as const) {
      scans(how);
      forward(20 * MINUTE_MS);
      await waitFor(`a look that ends ${how}`, isAlive);
    }
    scans('for ever');
    const before = scanned();
    await waitFor('a look that hangs', () => scanned() > before);
    expect(isAlive()).to.equal(true);
    forward(9 * MINUTE_MS);
    expect(isAlive()).to.equal(true);
    forward(2 * MINUTE_MS);
    expect(isAlive()).to.equal(false);
    await stop();
  });
});
