/** The daemon as a process: what it publishes, what it ignores, how it exits. */
import { chownSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess, dropdock } from '../support/daemon-process.js';
import { blobPath, makeLayout, TestContent } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('the daemon', function () {
  this.timeout(60_000);
  let root: string;
  let inbox: string;
  let published: string;
  let daemon: DaemonProcess | undefined;

  beforeEach(() => {
    root = tempDir();
    inbox = join(root, 'inbox');
    published = join(root, 'published');
  });

  afterEach(async () => {
    await daemon?.stop('SIGKILL');
    daemon = undefined;
    removeTempDirs();
  });

  const receiptsCount = (count: number) =>
    waitFor(`${count} receipts`, () => receipts(root).length >= count && receipts(root));

  it('publishes drops that were there before it started', async () => {
    makeLayout(join(inbox, 'early:1'));
    daemon = await DaemonProcess.start(root);
    await receiptsCount(1);
    expect(readRepository(published, 'early')?.tags).to.have.keys('1');
  });

  it('reports a repeated drop as unchanged and creates no snapshot', async () => {
    daemon = await DaemonProcess.start(root);
    makeLayout(join(inbox, 'app:1'));
    await receiptsCount(1);
    const first = readRepository(published, 'app')?.snapshot;
    makeLayout(join(inbox, 'app:1'));
    const [, second] = await receiptsCount(2);
    expect(second?.status).to.equal('unchanged');
    expect(second?.snapshot).to.equal(first);
    expect(readdirSync(join(published, 'master', 'app'))).to.deep.equal([first]);
  });

  it('names the owner of a drop: in the log, its receipt, the history, after a takeover too', async function () {
    if (process.getuid?.() !== 0) this.skip();
    // No user has this uid.
    const uid = 4_000_000;
    const drop = (name: string, layer: string) => {
      makeLayout(join(root, 'aside'), { layers: [layer] });
      chownSync(join(root, 'aside'), uid, uid);
      renameSync(join(root, 'aside'), join(inbox, name));
    };
    daemon = await DaemonProcess.start(root);
    drop('app:1', 'a');
    const [receipt] = await receiptsCount(1);
    expect(receipt?.by).to.equal(String(uid));
    const line = /publish\.done repo=app drop=app:1 by=4000000 snapshot=/;
    await waitFor('the line', () => line.test(daemon?.output ?? ''));
    drop('BAD:1', 'b');
    await receiptsCount(2);
    await waitFor('the line', () =>
      /drop\.rejected drop=BAD:1 by=4000000/.test(daemon?.output ?? ''),
    );
    await daemon.stop('SIGKILL');
    const claimed = 'app:2@20261101T000000.000Z.p1xdead';
    drop(`.claimed/${claimed}`, 'c');
    daemon = await DaemonProcess.start(root);
    const [, , third] = await receiptsCount(3);
    expect(third?.by).to.equal(String(uid));
    const { stdout } = await dropdock('history', 'app', '--json', '--root', root);
    expect(JSON.parse(stdout).map(({ by }: { by: string[] }) => by)).to.deep.equal([
      [String(uid)],
      [String(uid)],
    ]);
  });

  it('logs what commands changed and who ran them, also before it started', async () => {
    const yaml = 'settle: {quiet: 100ms}\nlock: {stale: 2s}\n';
    makeLayout(join(root, 'layout'));
    const run = async (...given: string[]) => {
      const { code, stderr } = await dropdock(...given, '--root', root);
      expect(code, stderr).to.equal(0);
    };
    await run('publish', join(root, 'layout'), '--as', 'app:1');
    daemon = await DaemonProcess.start(root, { yaml });
    const { username: me } = userInfo();
    const line = (command: string, tags: string) =>
      waitFor(command, () =>
        new RegExp(
          `info {2}command\\.done command=${command} repo=app by=${me} snapshot=\\S+Z tags="${tags}"`,
        ).test(daemon?.output ?? ''),
      );
    await line('publish', 'added 1');
    await run('publish', join(root, 'layout'), '--as', 'app:1');
    await run('untag', 'app', '1');
    await line('untag', 'removed 1');
    await run('rollback', 'app');
    await line('rollback', 'added 1');
    expect(daemon.output.match(/command\.done/g), 'nothing twice').to.have.length(3);
    expect(readdirSync(join(root, 'state/commands'))).to.deep.equal([]);
  });

  it('publishes within one scan interval without the watcher', async () => {
    const yaml = 'settle: {quiet: 100ms}\ninbox: {watch: false, scan: 4s}\n';
    daemon = await DaemonProcess.start(root, { yaml });
    makeLayout(join(root, 'aside'));
    const droppedAt = performance.now();
    renameSync(join(root, 'aside'), join(inbox, 'app:1'));
    await receiptsCount(1);
    // One scan finds it; had a second one to confirm it, that would take 8 s. A busy machine takes its time.
    expect(performance.now() - droppedAt).to.be.lessThan(7000);
  });

  it('rejects a wrong digest, keeps the drop complete, and names the file', async () => {
    daemon = await DaemonProcess.start(root);
    const content = new TestContent();
    const image = content.image({ layers: ['a'] });
    content.writeLayout(join(root, 'aside'), [{ image, tag: 'x' }]);
    const [layer] = [...content.blobs].filter(([, bytes]) => bytes[0] === 0x1f);
    if (!layer) throw new Error('no layer');
    writeFileSync(blobPath(join(root, 'aside'), layer[0]), Buffer.alloc(layer[1].length, 1));
    renameSync(join(root, 'aside'), join(inbox, 'bad'));
    const [receipt] = await receiptsCount(1);
    expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch', digest: layer[0] });
    const [rejected = ''] = readdirSync(join(inbox, '.rejected'));
    expect(readdirSync(join(inbox, '.rejected', rejected))).to.include('index.json');
    expect(readRepository(published, 'bad')).to.equal(undefined);
    const line = /warn {2}drop\.rejected repo=bad drop=bad by=\S+ code=digest\.mismatch/;
    await waitFor('the line', () => line.test(daemon?.output ?? ''));
  });

  it('waits for missing files, then rejects the drop with a list of them', async () => {
    daemon = await DaemonProcess.start(root, { yaml: 'settle: {quiet: 50ms, timeout: 1s}\n' });
    const content = new TestContent();
    const image = content.image({ layers: ['a'] });
    const missing = [...content.blobs].filter(([, bytes]) => bytes[0] === 0x1f).map(([d]) => d);
    content.writeLayout(join(inbox, 'thin'), [{ image, tag: 'x' }], { omit: missing });
    const [receipt] = await receiptsCount(1);
    expect(daemon.output).to.contain(
      `drop.waiting drop=thin reason="waiting for 1 of 3 blobs: ${missing[0]}`,
    );
    expect(receipt).to.include({ status: 'rejected', code: 'content.missing' });
    expect(receipt?.message).to.contain(missing[0]).and.to.contain(image.digest);
  });

  it('rejects an invalid name, and leaves unknown entries alone but logs them', async () => {
    daemon = await DaemonProcess.start(root);
    makeLayout(join(inbox, 'Not A Name'));
    writeFileSync(join(inbox, 'notes.txt'), 'hello');
    const [receipt] = await receiptsCount(1);
    expect(receipt).to.include({ status: 'rejected', code: 'name.invalid' });
    await waitFor('a line', () => daemon?.output.includes('drop.ignored drop=notes.txt'));
    expect(readdirSync(inbox)).to.include('notes.txt');
  });

  it('exits with 0 on SIGTERM, and the next daemon publishes the remaining drops', async () => {
    daemon = await DaemonProcess.start(root);
    for (let n = 0; n < 20; n++) makeLayout(join(inbox, `app${n % 5}:${n}`), { layers: [`l${n}`] });
    await receiptsCount(1);
    expect(await daemon.stop()).to.equal(0);
    expect(daemon.output).to.contain('daemon.stopping');
    daemon = await DaemonProcess.start(root);
    const all = await receiptsCount(20);
    expect(all.filter(({ status }) => status === 'published')).to.have.length(20);
    for (let n = 0; n < 5; n++) {
      expect(Object.keys(readRepository(published, `app${n}`)?.tags ?? {})).to.have.length(4);
    }
  });

  it('shares one root with another daemon: publishes each of 200 drops once', async () => {
    daemon = await DaemonProcess.start(root);
    const other = await DaemonProcess.start(root);
    const aside = join(root, 'aside');
    for (let n = 0; n < 200; n++) {
      makeLayout(aside, { layers: ['base', `layer ${n}`] });
      renameSync(aside, join(inbox, `repo${n % 10}:tag-${n}`));
    }
    const all = await waitFor(
      '200 receipts',
      () => receipts(root).length >= 200 && receipts(root),
      40_000,
    );
    expect(await other.stop()).to.equal(0);
    expect(all).to.have.length(200);
    expect(new Set(all.map(({ drop }) => drop)).size).to.equal(200);
    expect(all.every(({ status }) => status === 'published')).to.equal(true);
    for (let n = 0; n < 10; n++) {
      const seen = readRepository(published, `repo${n}`);
      expect(Object.keys(seen?.tags ?? {})).to.have.length(20);
    }
    await waitFor('no claims', () => readdirSync(join(inbox, '.claimed')).length === 0);
    expect((await dropdock('verify', '--root', root)).code).to.equal(0);
  });

  it('takes over from a killed daemon', async () => {
    daemon = await DaemonProcess.start(root);
    for (let n = 0; n < 30; n++) makeLayout(join(inbox, `app:${n}`), { layers: [`l${n}`] });
    await receiptsCount(1);
    await daemon.stop('SIGKILL');
    rmSync(join(root, 'nothing'), { force: true });
    daemon = await DaemonProcess.start(root);
    await waitFor('all tags', () => {
      const seen = readRepository(published, 'app');
      return Object.keys(seen?.tags ?? {}).length === 30;
    });
    await waitFor('no claims', () => readdirSync(join(inbox, '.claimed')).length === 0);
    const drops = new Set(receipts(root).map(({ drop }) => drop));
    expect(drops.size).to.equal(30);
  });

  it('publishes a drop without a layer that its repository has, and no other one', async () => {
    daemon = await DaemonProcess.start(root, { yaml: 'settle: {quiet: 50ms, timeout: 700ms}\n' });
    const content = new TestContent();
    content.writeLayout(join(inbox, 'app'), [
      { image: content.image({ layers: ['big'] }), tag: '1' },
    ]);
    await receiptsCount(1);
    const omit = [...content.blobs].filter(([, bytes]) => bytes[0] === 0x1f).map(([d]) => d);
    const image = content.image({ layers: ['big', 'small'] });
    content.writeLayout(join(inbox, 'app'), [{ image, tag: '2' }], { omit });
    const [, thin] = await receiptsCount(2);
    expect(thin?.status).to.equal('published');
    expect(readRepository(published, 'app')?.tags).to.have.keys('1', '2');
    content.writeLayout(join(inbox, 'thief'), [{ image, tag: '2' }], { omit });
    const [, , stolen] = await receiptsCount(3);
    expect(stolen).to.include({ status: 'rejected', code: 'content.missing' });
  });
});

describe('npm run demo', function () {
  this.timeout(30_000);

  it('shows the old redirect and content while the new ones fail or are slow', async () => {
    const { fileURLToPath } = await import('node:url');
    const demo = fileURLToPath(new URL('../demo/issue-3357.js', import.meta.url));
    const { execFileSync } = await import('node:child_process');
    const shown = execFileSync(process.execPath, [demo], { encoding: 'utf8' });
    expect(shown.match(/Still the old ones, byte for byte/g)).to.have.length(2);
    expect(shown).to.contain('The new ones, all at once').and.to.contain('nothing in between');
  });
});
