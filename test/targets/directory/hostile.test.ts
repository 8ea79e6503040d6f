/** Hostile uploaders, and accidents with the same effect; each attack worked on an earlier version. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Claiming } from '#src/daemon/claiming.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { scan } from '#src/inbox/scan-job.js';
import { nodeDisk } from '#src/storage/disk.js';
import { removeTree } from '#src/storage/remove-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { interfereWith } from '../../support/faulty-disk.js';
import { makeLayout, TestContent } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, type TestServices, testDaemon, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { waitFor } from '../../support/wait-for.js';

describe('hostile uploaders', () => {
  let root: string;
  let services: TestServices;
  const yaml = 'settle: {quiet: 10ms, timeout: 10m}\ninbox: {scan: 50ms}\n';

  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  it('cannot redirect the deletion of a drop by replacing a directory with a link', () => {
    const precious = join(root, 'precious');
    mkdirSync(precious);
    writeFileSync(join(precious, 'victim'), 'x');
    const tree = join(root, 'tree');
    mkdirSync(join(tree, 'D'), { recursive: true });
    for (const name of ['a', 'b', 'victim']) writeFileSync(join(tree, 'D', name), 'x');
    let swapped = false;
    const disk = interfereWith(nodeDisk, ({ verb }) => {
      if (verb !== 'unlink' || swapped) return;
      swapped = true;
      renameSync(join(tree, 'D'), join(tree, 'moved'));
      symlinkSync(precious, join(tree, 'D'));
    });
    removeTree(disk, tree);
    expect(swapped).to.equal(true);
    expect(readdirSync(precious)).to.deep.equal(['victim']);
  });

  it('cannot leave behind undecodable names or trees a thousand directories deep', () => {
    const tree = join(root, 'tree');
    mkdirSync(tree);
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/bad`), Buffer.from([0xff])]), 'x');
    execFileSync('sh', ['-c', 'for i in $(seq 1000); do mkdir d && cd d; done'], { cwd: tree });
    removeTree(nodeDisk, tree);
    expect(existsSync(tree)).to.equal(false);
  });

  it('cannot have files outside the inbox claimed by replacing a namespace with a link', async () => {
    const secret = join(root, 'secret');
    makeLayout(join(secret, 'image'), { layers: ['secret'] });
    mkdirSync(dropPath(root, 'att/sub'), { recursive: true });
    makeLayout(dropPath(root, 'att/sub/image'), { layers: ['mine'] });
    const { drops } = await services.run(scan, { inbox: services.inbox, marker: undefined });
    expect(drops.map(({ path }) => path)).to.deep.equal(['att/sub/image']);
    rmSync(dropPath(root, 'att/sub'), { recursive: true });
    symlinkSync(secret, dropPath(root, 'att/sub'));
    const [seen] = drops;
    if (seen === undefined) throw new Error('not seen');
    for (const isDue of [false, true]) {
      const claimed = await new Claiming(services)
        .claim(seen, isDue)
        .catch((error: Error) => error);
      expect(claimed).to.include({ code: 'path.outside' });
    }
    expect(existsSync(join(secret, 'image/index.json'))).to.equal(true);
    expect(
      (await services.run(scan, { inbox: services.inbox, marker: undefined })).drops,
    ).to.deep.equal([]);
  });

  it('cannot have other drops claimed together with an image in their namespace', async () => {
    makeLayout(dropPath(root, 'team/app:1'), { layers: ['theirs'] });
    const content = new TestContent();
    content.writeLayout(dropPath(root, 'team'), [{ image: content.image(), tag: '1' }]);
    const { services: own, stop } = await testDaemon(root, { disk: nodeDisk, yaml });
    await waitFor('the drop inside', () => receipts(root).length === 1);
    await stop();
    expect(receipts(root)[0]).to.include({ status: 'published', repository: 'team/app' });
    const reasons = own.lines.filter(({ event }) => event === 'drop.ignored');
    expect(reasons.map(({ fields }) => fields.drop)).to.deep.equal(['team']);
  });

  it('cannot block other drops with directories that are unreadable or have undecodable names', async () => {
    const name = 'n'.repeat(250);
    const script = `for i in $(seq 14); do mkdir ${name} && cd ${name}; done`;
    execFileSync('sh', ['-c', script], { cwd: join(root, 'inbox') });
    makeLayout(dropPath(root, 'good'), {});
    const { stop } = await testDaemon(root, { disk: nodeDisk, yaml });
    await waitFor('the good drop', () => receipts(root).length === 1);
    await stop();
    expect(readRepository(join(root, 'published'), 'good')?.tags).to.have.keys('1.0');
    execFileSync('rm', ['-rf', name], { cwd: join(root, 'inbox') });
  });

  it('cannot block others with an index whose Docker form is too long for clients', async () => {
    const content = new TestContent();
    const image = content.image({ platform: { os: 'linux', architecture: 'amd64' } });
    const entries = Array.from({ length: 17_500 }, (_, n) => ({
      ...image,
      platform: { os: 'linux', architecture: `a${n}` },
    }));
    content.writeLayout(dropPath(root, 'wide'), [{ image: content.index(entries), tag: '1' }]);
    await deliver(services, 'wide');
    expect(receipts(root)[0]?.status).to.equal('published');
    expect(receipts(root)[0]?.leftOut?.[0]?.why).to.contain('larger than clients accept');
  });

  it('cannot crash the daemon with a file that breaks tar readers', async () => {
    const bytes = Buffer.alloc(1024, 7);
    bytes[100] = 0x81;
    writeFileSync(dropPath(root, 'photo.jpg'), bytes);
    makeLayout(dropPath(root, 'good'), {});
    const { services: own, stop } = await testDaemon(root, { disk: nodeDisk, yaml });
    await waitFor('the good drop', () => receipts(root).length === 1);
    const isIgnored = () =>
      own.lines.some(({ fields }) => fields.drop === 'photo.jpg' && fields.reason);
    await waitFor('a word about the file', isIgnored);
    await stop();
  });

  it('keeps the links of a Pulp host unchanged, and starts', async () => {
    mkdirSync(join(root, 'published/master/old/1234.56'), { recursive: true });
    symlinkSync(join(root, 'published/master/old/1234.56'), join(root, 'published/web/old'));
    makeLayout(dropPath(root, 'good'), {});
    const { stop } = await testDaemon(root, { disk: nodeDisk, yaml });
    await waitFor('the good drop', () => receipts(root).length === 1);
    await stop();
    expect(existsSync(join(root, 'published/web/old'))).to.equal(true);
  });

  it('resumes a claim that was lost between claim and receipt', async () => {
    makeLayout(dropPath(root, 'Bad Name'), {});
    let broken = true;
    const disk = interfereWith(nodeDisk, (operation) => {
      if (broken && operation.verb === 'open' && operation.paths.includes('/.receipts/.')) {
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'open' });
      }
    });
    const { services: own, stop } = await testDaemon(root, {
      disk,
      yaml: `${yaml}lock: {stale: 2s}\n`,
    });
    const complained = () =>
      own.lines.some(({ fields }) => String(fields.reason).includes('ENOSPC'));
    await waitFor('the complaint', complained);
    broken = false;
    await waitFor('the receipt', () => receipts(root).length === 1, 10_000);
    await stop();
    expect(receipts(root)[0]).to.include({ status: 'rejected', code: 'name.invalid' });
  });
});
