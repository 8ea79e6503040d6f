/**
 * Goal: content stored when a drop is claimed is kept until the drop has its receipt, and no longer: a
 * failed publish is retried with it, and if it is missing all the same, with the drop itself.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { startDaemon } from '#src/daemon/daemon.js';
import type { Digest } from '#src/image/digest.js';
import type { ClaimBatchRequest } from '#src/staging/claim-batch.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { contentPath } from '#src/storage/tree-paths.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { blobPath, layerBytes, makeLayout, sha256 } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

interface Job {
  readonly job: string;
  readonly request: unknown;
}

describe('content stored when a drop is claimed', () => {
  let root: string;
  let stop: () => Promise<void>;
  beforeEach(() => {
    root = tempDir();
  });
  afterEach(async () => {
    await stop();
    removeTempDirs();
  });

  const work = () => readdirSync(join(root, 'state', 'work')).filter((name) => !isReady(name));
  const isReady = (name: string) => name.includes('ready');
  const isPublished = (count = 1) =>
    existsSync(join(root, 'inbox', '.receipts')) && receipts(root).length >= count;
  const watching = (look: (operation: DiskOperation) => void) => interfereWith(nodeDisk, look);
  const isBuilt = ({ verb, paths }: DiskOperation) =>
    verb === 'rename' && /\/master\/app\/\S+$/.test(paths);
  const tags = () => Object.keys(readRepository(join(root, 'published'), 'app')?.tags ?? {});

  /**
   * @param before called before each job
   * @returns its services, and the jobs that it gives to the workers from now on
   */
  async function start(
    disk: Disk = nodeDisk,
    before: (job: string, services: TestServices) => void = () => {},
  ): Promise<{ services: TestServices; jobs: Job[] }> {
    const services = await testServices(root, { disk });
    const { run } = services;
    const jobs: Job[] = [];
    const noted: typeof run = (job, request) => {
      jobs.push({ job: job.jobName, request });
      before(job.jobName, services);
      return run(job, request);
    };
    const daemon = await startDaemon(Object.assign(services, { run: noted }));
    stop = async () => {
      await daemon.stop();
      await services.close();
    };
    return { services, jobs };
  }
  const retries = ({ lines }: TestServices) =>
    lines.filter(({ event }) => event === 'publish.retry').map(({ fields }) => fields.code);

  it('is kept until the drop has its receipt, and no longer', async () => {
    const atFlip: number[] = [];
    const atReceipt: number[] = [];
    const disk = watching(({ verb, paths }) => {
      if (verb !== 'rename') return;
      if (paths.endsWith('/web/app')) atFlip.push(work().length);
      if (/\/\.receipts\/\S+$/.test(paths)) atReceipt.push(work().length);
    });
    const { jobs } = await start(disk);
    makeLayout(join(root, 'inbox', 'app:1'));
    await waitFor('the receipt', isPublished);
    // The publish's own, and the one that keeps what was stored.
    expect({ atFlip, atReceipt }).to.deep.equal({ atFlip: [2], atReceipt: [1] });
    await waitFor('nothing to be left of it', () => work().length === 0);
    expect(jobs.map(({ job }) => job)).not.to.include('stage');
  });

  it('produces one snapshot for all drops of a repository found by one scan', async () => {
    const names = Array.from({ length: 6 }, (_none, at) => `app:${at}`);
    // Two jobs share what a scan has found.
    for (const name of [...names, 'other:1', 'third:1']) {
      const tag = name.slice(name.indexOf(':') + 1);
      makeLayout(join(root, 'inbox', name), { layers: [name], tag });
    }
    const last = join(root, 'inbox', 'third:1', 'index.json');
    await waitFor('silence', () => Date.now() - statSync(last).ctimeMs > 200);
    const { jobs } = await start();
    await waitFor('all receipts', () => isPublished(names.length + 2));
    const claimed = jobs
      .filter(({ job }) => job === 'claimBatch')
      .map(({ request }) => (request as ClaimBatchRequest).drops.map(({ take }) => take.path));
    expect(claimed.filter((paths) => names.some((name) => paths.includes(name)))).to.have.length(1);
    const ours = receipts(root).filter(({ repository }) => repository === 'app');
    expect(ours).to.have.length(names.length);
    expect(new Set(ours.map(({ snapshot }) => snapshot)).size).to.equal(1);
  });

  it('is kept while the publish is retried, without reading the drop again', async () => {
    const kept: number[] = [];
    const disk = watching((operation) => {
      if (!isBuilt(operation)) return;
      kept.push(work().length);
      if (kept.length < 3) throw systemError('EIO', operation);
    });
    const { services, jobs } = await start(disk);
    makeLayout(join(root, 'inbox', 'app:1'), { layers: ['one'] });
    await waitFor('the receipt', isPublished);
    expect(kept).to.deep.equal([2, 2, 2]);
    expect(retries(services)).to.deep.equal(['EIO', 'EIO']);
    expect(jobs.map(({ job }) => job)).not.to.include('stage');
    expect(receipts(root)[0]?.status).to.equal('published');
    expect(tags()).to.have.length(1);
    await waitFor('nothing to be left of it', () => work().length === 0);
  });

  it('is read again from the drop if it is missing when the publish is retried', async () => {
    let failed = 0;
    const disk = watching((operation) => {
      if (failed > 0 || !isBuilt(operation)) return;
      failed++;
      rmSync(join(root, 'state', 'content'), { recursive: true });
      throw systemError('EIO', operation);
    });
    const { services, jobs } = await start(disk);
    makeLayout(join(root, 'inbox', 'app:1'), { layers: ['one'] });
    await waitFor('the receipt', isPublished);
    expect(failed).to.equal(1);
    expect(retries(services)).to.deep.equal(['EIO', 'content.vanished']);
    expect(jobs.filter(({ job }) => job === 'stage')).to.have.length(1);
    expect(receipts(root)[0]?.status).to.equal('published');
    expect(tags()).to.have.length(1);
    await waitFor('nothing to be left of it', () => work().length === 0);
  });

  it('is read again until that succeeds: an error of the disk never rejects the drop', async () => {
    let failed = 0;
    let stagings = 0;
    const disk = watching((operation) => {
      if (failed > 0 || !isBuilt(operation)) return;
      failed++;
      rmSync(join(root, 'state', 'content'), { recursive: true });
      throw systemError('EIO', operation);
    });
    const { services } = await start(disk, (job) => {
      if (job === 'stage' && ++stagings <= 2) {
        throw systemError('EMFILE', { number: 1, verb: 'open', paths: 'app:1' });
      }
    });
    makeLayout(join(root, 'inbox', 'app:1'), { layers: ['one'] });
    await waitFor('the receipt', isPublished);
    expect(receipts(root)[0]?.status).to.equal('published');
    expect(retries(services).filter((code) => code === 'EMFILE')).to.have.length(2);
    expect(tags()).to.have.length(1);
  });

  it('is not published for a thin drop whose omitted content was removed: only that drop is rejected', async () => {
    makeLayout(join(root, 'inbox', 'app:zero'), { layers: ['base'], tag: 'zero' });
    const base = sha256(layerBytes('base'));
    let builds = 0;
    const { services } = await start(nodeDisk, (job, { roots }) => {
      if (job === 'buildSnapshot' && ++builds === 2) rmSync(contentPath(roots, base as Digest));
    });
    await waitFor('the first receipt', isPublished);
    // Moved into the inbox together: one scan finds both.
    for (const tag of ['one', 'two']) {
      const layers = tag === 'one' ? ['base', tag] : [tag];
      makeLayout(join(root, 'outside', tag), { layers, tag });
    }
    rmSync(blobPath(join(root, 'outside', 'one'), base));
    for (const tag of ['one', 'two']) {
      renameSync(join(root, 'outside', tag), join(root, 'inbox', `app:${tag}`));
    }
    await waitFor('all receipts', () => isPublished(3));
    const told = receipts(root).map(({ drop, status, code }) => [drop, status, code]);
    expect(told).to.have.deep.members([
      ['app:zero', 'published', undefined],
      ['app:two', 'published', undefined],
      ['app:one', 'rejected', 'content.missing'],
    ]);
    expect(tags()).to.have.members(['zero', 'two']);
    expect(retries(services)).to.deep.equal(['content.vanished']);
  });
});
