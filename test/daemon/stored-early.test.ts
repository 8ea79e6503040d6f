/**
 * Goal: what a daemon stores before a drop's turn is kept until that turn, and no longer; and a turn
 * that fails is tried again with the drop itself, for by then the sweep may have been there.
 */
import { on } from 'node:events';
import { existsSync, readdirSync, renameSync, rmSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { startDaemon } from '#src/daemon/daemon.js';
import { nodeDisk } from '#src/disk/disk.js';
import type { ScanResult } from '#src/inbox/scan.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, testDaemon, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('what a daemon stores early', () => {
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
  const isPublished = () =>
    existsSync(join(root, 'inbox', '.receipts')) && receipts(root).length > 0;
  const watching = (look: (operation: DiskOperation) => void) => interfereWith(nodeDisk, look);

  it('is kept until the drop has had its turn, and no longer', async () => {
    const atFlip: number[] = [];
    const disk = watching(({ verb, paths }) => {
      if (verb === 'rename' && paths.endsWith('/web/app')) atFlip.push(work().length);
    });
    ({ stop } = await testDaemon(root, { disk }));
    makeLayout(join(root, 'inbox', 'app:1'));
    await waitFor('the receipt', isPublished);
    // The turn's own, and the one that keeps what was stored.
    expect(atFlip).to.deep.equal([2]);
    await waitFor('nothing to be left of it', () => work().length === 0);
  });

  it('makes one snapshot of all that a look has found of a repository', async () => {
    const drops = Array.from({ length: 6 }, (_none, at) => `app:${at}`);
    for (const name of drops)
      makeLayout(join(root, 'inbox', name), { layers: [name], tag: name.slice(4) });
    const last = join(root, 'inbox', 'app:5', 'index.json');
    await waitFor('silence', () => Date.now() - statSync(last).ctimeMs > 200);
    const services = await testServices(root, { disk: nodeDisk });
    const { run } = services;
    let jobs = 0;
    let isTurn = false;
    // The second job that takes some of them ends when a turn has begun without these, or after a while.
    const slowly = async (job: string, request: unknown) => {
      if (job === 'readAndBuild') isTurn = true;
      if (job === 'takeTogether' && ++jobs === 2) {
        await waitFor('a turn', () => isTurn, 300).catch(() => {});
      }
      return run(job as never, request as never);
    };
    const daemon = await startDaemon(Object.assign(services, { run: slowly as typeof run }));
    stop = async () => {
      await daemon.stop();
      await services.close();
    };
    await waitFor('all receipts', () => isPublished() && receipts(root).length === drops.length);
    expect(jobs).to.equal(2);
    expect(new Set(receipts(root).map(({ snapshot }) => snapshot)).size).to.equal(1);
  });

  it('makes one snapshot of what comes right behind a crowd, too', async () => {
    const inbox = join(root, 'inbox');
    const names = Array.from({ length: 14 }, (_none, at) => `app:${at}`);
    for (const name of names)
      makeLayout(join(root, 'outside', name), { layers: [name], tag: name.slice(4) });
    const last = join(root, 'outside', 'app:13', 'index.json');
    await waitFor('silence', () => Date.now() - statSync(last).ctimeMs > 200);
    const services = await testServices(root, { disk: nodeDisk });
    const { run } = services;
    const drop = (some: readonly string[]) => {
      for (const name of some) renameSync(join(root, 'outside', name), join(inbox, name));
    };
    const behind = names.slice(10);
    // When a look has found the first ten, the others come, and the daemon hears of it.
    const whileLooking = async (job: string, request: unknown) => {
      const result: unknown = await run(job as never, request as never);
      if (job !== 'scan' || (result as ScanResult).drops.length < 10) return result;
      const coming = behind.splice(0);
      if (coming.length === 0) return result;
      const watcher = watch(inbox);
      drop(coming);
      for await (const [, name] of on(watcher, 'change')) if (name === coming.at(-1)) break;
      watcher.close();
      return result;
    };
    const daemon = await startDaemon(Object.assign(services, { run: whileLooking as typeof run }));
    stop = async () => {
      await daemon.stop();
      await services.close();
    };
    // By then its watch is there.
    makeLayout(join(inbox, 'other:1'));
    await waitFor('the first receipt', isPublished);
    drop(names.slice(0, 10));
    await waitFor('all receipts', () => receipts(root).length === names.length + 1);
    expect(behind).to.have.length(0);
    const ours = receipts(root).filter(({ repository }) => repository === 'app');
    expect(new Set(ours.map(({ snapshot }) => snapshot)).size).to.equal(1);
  });

  it('is not gone by when a turn is tried again', async () => {
    let failed = 0;
    const disk = watching((operation) => {
      const { verb, paths } = operation;
      if (failed > 0 || verb !== 'rename' || !/\/master\/app\/\S+$/.test(paths)) return;
      failed++;
      rmSync(join(root, 'state', 'content'), { recursive: true });
      throw systemError('EIO', operation);
    });
    ({ stop } = await testDaemon(root, { disk }));
    makeLayout(join(root, 'inbox', 'app:1'), { layers: ['one'] });
    await waitFor('the receipt', isPublished);
    expect(failed).to.equal(1);
    expect(receipts(root)[0]?.status).to.equal('published');
    expect(Object.keys(readRepository(join(root, 'published'), 'app')?.tags ?? {})).to.have.length(
      1,
    );
    await stop();
  });
});
