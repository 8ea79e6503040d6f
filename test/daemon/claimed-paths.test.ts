/**
 * A drop is identified by the path at which it was dropped in every message, as its uploader expects. Its
 * claim keeps the path, also for the process that takes the claim over.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { startDaemon } from '#src/daemon/daemon.js';
import { claimName } from '#src/image/names.js';
import { nodeDisk } from '#src/storage/disk.js';
import { dropPath } from '../support/deliver.js';
import { makeLayout, TestContent } from '../support/make-image.js';
import { makeTar, tarMembers } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const AT = '20261123T152634.123Z';

describe('the path of a drop', () => {
  let root: string;
  let services: TestServices;
  let stop: () => Promise<void> = async () => {};

  beforeEach(() => {
    root = tempDir();
    mkdirSync(dropPath(root, '.claimed'), { recursive: true });
  });
  afterEach(async () => {
    await stop();
    removeTempDirs();
  });

  async function start(change: Partial<TestServices> = {}, yaml = ''): Promise<void> {
    services = await testServices(root, { disk: nodeDisk, yaml });
    Object.assign(services, change);
    const daemon = await startDaemon(services);
    stop = async () => {
      stop = async () => {};
      await daemon.stop();
      await services.close();
    };
  }
  const said = (event: string) =>
    services.lines.filter((line) => line.event === event).map(({ fields }) => fields.drop);
  const tags = (id: string) => Object.keys(readRepository(join(root, 'published'), id)?.tags ?? {});
  const archive = (...layers: string[]): Buffer => {
    const directory = join(tempDir(), 'layout');
    makeLayout(directory, { layers, tag: 'inside' });
    return makeTar(tarMembers(directory));
  };

  const claims: readonly [string, string, string, readonly string[]][] = [
    // The claim's name, by this version or an earlier one; its path; what it is published as.
    ['team~app:1.2', 'team/app:1.2', 'team~app', ['1.2']],
    [claimName('team~app=1.2'), 'team~app=1.2', 'team~app', ['1.2']],
    ['team~app=1.2', 'team/app=1.2', 'team~app', ['1.2']],
    ['reg:5000~team~app:1.2', 'reg:5000/team/app:1.2', 'reg~team~app', ['1.2']],
    ['reg:5000~team~app', 'reg:5000/team/app', 'reg~team~app', ['inside']],
    ['m~reg=5000~app=3@x~y.tar', 'm/reg=5000/app=3@x~y.tar', 'm~reg~app', ['3']],
  ];
  for (const [name, path, id, expected] of claims) {
    it(`is ${path} for a claim named ${name} left by a dead process`, async () => {
      const claimed = dropPath(root, `.claimed/${name}@${AT}.p1xdead`);
      if (path.endsWith('.tar')) writeFileSync(claimed, archive('one'));
      else makeLayout(claimed, { tag: 'inside' });
      await start();
      await waitFor('the receipt', () => receipts(root).length === 1);
      expect(receipts(root)[0]).to.include({ status: 'published', drop: path, claimedAt: AT });
      expect(tags(id)).to.deep.equal(expected);
      expect(said('daemon.recovered')).to.deep.equal([path]);
      await waitFor('its line', () => said('publish.done').length === 1);
      expect([...said('publish.started'), ...said('publish.done')]).to.deep.equal([path, path]);
    });
  }

  it('appears in the message for a claim that is rejected after takeover, with its location', async () => {
    const name = 'reg:5000~team~app:1.2';
    mkdirSync(dropPath(root, `.claimed/${name}@${AT}.p1xdead`));
    writeFileSync(dropPath(root, `.claimed/${name}@${AT}.p1xdead/notes`), 'no image');
    await start();
    await waitFor('the receipt', () => receipts(root).length === 1);
    expect(receipts(root)[0]).to.include({
      status: 'rejected',
      drop: 'reg:5000/team/app:1.2',
      repository: 'reg/team/app',
      claim: name,
    });
    expect(existsSync(dropPath(root, `.rejected/${name}@${AT}`))).to.equal(true);
    const rejected = await waitFor('it on the board', async () => {
      const all = await services.board.drops();
      const found = all.filter(({ kind }) => kind === 'rejected');
      return found.length > 0 ? found : undefined;
    });
    expect(rejected.map(({ drop, repositories }) => [drop, repositories])).to.deep.equal([
      ['reg:5000/team/app:1.2', ['reg/team/app']],
    ]);
  });

  it('is where an archive goes that was taken over and is still being uploaded', async () => {
    const path = 'reg:5000/team/app:1.2.tar.gz';
    const whole = gzipSync(archive('one'));
    mkdirSync(dirname(dropPath(root, path)), { recursive: true });
    const claimed = `.claimed/${claimName(path)}@${AT}.p1xdead`;
    writeFileSync(dropPath(root, claimed), whole.subarray(0, whole.length - 20));
    await start();
    await waitFor('it back', () => existsSync(dropPath(root, path)));
    writeFileSync(dropPath(root, path), whole);
    await waitFor('the receipt', () => receipts(root).length === 1);
    expect(receipts(root)[0]).to.include({ status: 'published', drop: path });
    expect(tags('reg~team~app')).to.deep.equal(['1.2']);
  });

  it('is unique for two drops that differ in ~ for / and are claimed in one millisecond', async () => {
    for (const bad of [false, true]) {
      const paths = ['team/app:1', 'team~app:1'].map((path) => (bad ? `${path}.tar` : path));
      mkdirSync(dropPath(root, 'team'), { recursive: true });
      for (const path of paths) {
        if (!bad) makeLayout(dropPath(root, path), { layers: [path] });
        else writeFileSync(dropPath(root, path), makeTar([{ path: 'x', body: 'y' }]));
      }
      await start({ nowMs: () => Date.UTC(2026, 10, 23) + (bad ? 1000 : 0) });
      await waitFor('both receipts', () => receipts(root).length === (bad ? 4 : 2));
      await stop();
      const mine = receipts(root).filter(({ status }) => (status === 'rejected') === bad);
      expect(mine.map(({ drop }) => drop)).to.have.members(paths);
    }
    expect(readdirSync(dropPath(root, '.rejected'))).to.have.length(2);
  });

  it('of a mirror with a port is read below other directories, and its directory waits for more', async () => {
    await start({}, 'settle: {quiet: 20ms, timeout: 300ms}\ninbox: {watch: false, scan: 20ms}\n');
    for (const tag of ['1', '2']) {
      const path = `mirror/127.0.0.1:5000/app:${tag}`;
      const content = new TestContent();
      content.writeSkopeoDir(dropPath(root, path), content.image({ layers: [tag] }));
      await waitFor('its receipt', () => receipts(root).some(({ drop }) => drop === path));
      const emptySinceMs = Date.now();
      await waitFor('its time to be over', () => Date.now() - emptySinceMs > 600);
      expect(existsSync(dropPath(root, 'mirror/127.0.0.1:5000'))).to.equal(true);
    }
    expect(tags('mirror~127.0.0.1~app')).to.deep.equal(['1', '2']);
    expect(receipts(root).map(({ status }) => status)).to.deep.equal(['published', 'published']);
  });
});
