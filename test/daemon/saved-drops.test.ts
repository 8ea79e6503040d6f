/** Docker-archives through the daemon: as directories, during upload, and with unpublished content. */
import { mkdirSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { sha256, TestContent } from '../support/make-image.js';
import { dockerSaveMembers, makeTar, savedMembers, type TarMember } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

type Running = Awaited<ReturnType<typeof testDaemon>>;

describe('a docker-archive in the inbox of a daemon', function () {
  this.timeout(60_000);
  let root: string;
  let running: Running | undefined;

  beforeEach(() => {
    root = tempDir();
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    removeTempDirs();
  });

  const start = async (yaml = '') => {
    running = await testDaemon(root, { yaml });
    return running;
  };
  const put = (name: string, body: string | Buffer = '') => {
    mkdirSync(dirname(join(root, 'inbox', name)), { recursive: true });
    writeFileSync(join(root, 'inbox', name), body);
  };
  const putAll = (name: string, members: readonly TarMember[]) => {
    for (const { path, body } of members) put(`${name}/${path}`, body);
  };
  const receiptsCount = (count: number) =>
    waitFor(`${count} receipts`, () => receipts(root).length >= count && receipts(root), 30_000);
  const said = (event: string) =>
    (running?.services.lines ?? []).filter((line) => line.event === event);
  const tagsOf = (id: string) => readRepository(join(root, 'published'), id)?.tags;
  const images = [
    { names: ['x:1'], layers: ['base', 'one'] },
    { names: ['x:2'], layers: ['base', 'two'] },
  ];
  const members = dockerSaveMembers(images, sha256);

  it('gives the same digests as a tar and as a directory, also among other drops in its batch', async () => {
    put('tar.tar', makeTar(members));
    putAll('directory', members);
    for (let n = 0; n < 3; n++) putAll(`many:${n}`, dockerSaveMembers(images.slice(0, 1), sha256));
    await start();
    await receiptsCount(5);
    expect(receipts(root).map(({ status }) => status)).not.to.include('rejected');
    expect(tagsOf('directory')).to.have.keys('1', '2').and.to.deep.equal(tagsOf('tar'));
    expect(tagsOf('many')).to.have.keys('0', '1', '2');
    expect(tagsOf('many')?.['0']).to.equal(tagsOf('tar')?.['1']);
  });

  it('is never unpacked while it is still being copied', async () => {
    await start('settle: {quiet: 50ms, timeout: 60s}\n');
    // The order in which docker save packs them, and a layer with a link to it.
    const last = members.at(-1);
    const [layer] = members.filter(({ path }) => path.endsWith('/layer.tar'));
    if (!layer || !last) throw new Error('no layer');
    const shared = { ...layer, path: `${'f'.repeat(64)}.tar` };
    const files = [shared, ...members.filter((each) => each.path !== layer.path && each !== last)];
    for (const { path, body } of files) {
      const seen = said('drop.waiting').length;
      put(`app/${path}`, body);
      await waitFor('a look at it', () => said('drop.waiting').length > seen || seen > 0);
    }
    mkdirSync(join(root, 'inbox/app', dirname(layer.path)), { recursive: true });
    symlinkSync(`../${shared.path}`, join(root, 'inbox/app', layer.path));
    const lines = () => said('drop.claimed').length + said('drop.rejected').length;
    await waitFor('quiet', () => running && running.daemon !== undefined && lines() === 0);
    expect(said('drop.seen').map(({ fields }) => fields.drop)).to.deep.equal(['app']);
    put('app/manifest.json', last.body as string);
    const [receipt] = await receiptsCount(1);
    expect(receipt).to.include({ status: 'published', drop: 'app' });
    expect(tagsOf('app')).to.have.keys('1', '2');
    expect(readdirSync(join(root, 'inbox')).filter((name) => !name.startsWith('.'))).to.be.empty;
  });

  for (const [what, pack] of [
    ['as it is', (tar: Buffer) => tar],
    ['compressed', (tar: Buffer) => gzipSync(tar)],
  ] as const) {
    it(`waits, as a directory, for the rest of a layer (${what})`, async () => {
      const tar = makeTar([{ path: 'a', body: sha256('a').repeat(200) }]);
      const body = pack(tar);
      const all = savedMembers(
        [{ names: ['x:1'], layers: [{ body }], diffIds: [sha256(tar)] }],
        sha256,
      );
      const layer = all.find((each) => each.body === body)?.path ?? '';
      await start('settle: {quiet: 50ms, timeout: 60s}\n');
      putAll('aside', all);
      put(`aside/${layer}`, body.subarray(0, body.length >> 1));
      renameSync(join(root, 'inbox/aside'), join(root, 'inbox/app'));
      await waitFor('its return', () =>
        said('drop.waiting').some(({ fields }) => String(fields.reason).includes('its end')),
      );
      expect(receipts(root)).to.deep.equal([]);
      put(`app/${layer}`, body);
      const [receipt] = await receiptsCount(1);
      expect(receipt?.status, receipt?.message).to.equal('published');
    });

    it(`is eventually rejected, as a directory with a truncated layer (${what})`, async () => {
      const tar = makeTar([{ path: 'a', body: sha256('a').repeat(200) }]);
      const whole = pack(tar);
      const body = whole.subarray(0, whole.length >> 1);
      const image = { names: ['x:1'], layers: [{ body }], diffIds: [sha256(tar)] };
      putAll('app', savedMembers([image], sha256));
      await start('settle: {quiet: 50ms, timeout: 1s}\n');
      const [receipt] = await receiptsCount(1);
      expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch' });
    });
  }

  it('is rejected at once when a layer has other content, as a directory too', async () => {
    const [tar, other] = ['a', 'b'].map((text) => makeTar([{ path: text, body: text }]));
    if (!tar || !other) throw new Error('no layer');
    const image = { names: ['x:1'], layers: [{ body: other }], diffIds: [sha256(tar)] };
    putAll('app', savedMembers([image], sha256));
    await start('settle: {quiet: 50ms, timeout: 600s}\n');
    const [receipt] = await receiptsCount(1);
    expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch' });
  });

  it('is published with all of its images when its index lists only one of two', async () => {
    const content = new TestContent();
    const listed = content.image({ layers: ['listed'] });
    const layout = join(root, 'layout');
    content.writeLayout(layout, [{ image: listed, tag: 'app:1' }]);
    const files = [...content.blobs].map(([digest, body]) => ({
      path: `blobs/${digest.replace(':', '/')}`,
      body,
    }));
    const index = { schemaVersion: 2, manifests: [listed] };
    const both = [
      ...files,
      { path: 'oci-layout', body: '{"imageLayoutVersion":"1.0.0"}' },
      { path: 'index.json', body: JSON.stringify(index) },
      ...dockerSaveMembers([{ names: ['app:2'], layers: ['only in manifest.json'] }], sha256),
    ];
    put('app.tar', makeTar(both));
    putAll('directory', both);
    await start();
    for (const receipt of await receiptsCount(2)) {
      expect(receipt.status, receipt.message).to.equal('published');
    }
    expect(tagsOf('app')).to.have.keys('2').and.to.deep.equal(tagsOf('directory'));
    expect(readRepository(join(root, 'published'), 'app')?.digests.has(listed.digest)).to.equal(
      true,
    );
  });

  it('lists unpublished content in its receipt and in the log', async () => {
    const content = new TestContent();
    const images = ['one', 'lost'].map((layer) => content.image({ layers: [layer] }));
    const [one, lost] = images;
    if (!one || !lost) throw new Error('no image');
    content.writeLayout(join(root, 'inbox', 'app'), [{ image: one, tag: '1' }]);
    content.writeLayout(join(root, 'inbox', '@all'), [
      { image: one, tag: 'a:1' },
      { image: one, tag: 'b:1' },
    ]);
    await start();
    const all = await receiptsCount(2);
    const app = all.find(({ drop }) => drop === 'app');
    expect(app?.warnings?.join())
      .to.match(/^not published: /)
      .and.to.contain(lost.digest);
    await waitFor('the log', () => said('publish.left-out').length >= 2);
    const lines = said('publish.left-out').map(({ level, fields }) => [
      level,
      fields.drop,
      fields.what,
    ]);
    // Once for the bundle, which went to two repositories.
    expect(lines).to.have.deep.members([
      ['warn', 'app', lost.digest],
      ['warn', '@all', lost.digest],
    ]);
  });

  it('warns of an image without a tag, and of a tag that was the end of a file name', async () => {
    const content = new TestContent();
    content.writeLayout(join(root, 'inbox', 'bare'), [{ image: content.image() }]);
    content.writeLayout(join(root, 'inbox', 'app'), [{ image: content.image(), tag: '1.0.tar' }]);
    await start();
    const all = await receiptsCount(2);
    await waitFor('the log', () => said('publish.warning').length >= 2);
    for (const { level, fields } of said('publish.warning')) {
      expect(level).to.equal('warn');
      const receipt = all.find(({ drop }) => drop === fields.drop);
      expect(receipt?.warnings).to.include(fields.message);
    }
    expect(said('publish.warning').map(({ fields }) => fields.repo)).to.have.members([
      'bare',
      'app',
    ]);
  });

  it('is not rejected when umoci has only started writing it', async () => {
    put('app/oci-layout', '{"imageLayoutVersion":"1.0.0"}');
    put('app/index.json', '{"schemaVersion":2,"manifests":null}');
    mkdirSync(join(root, 'inbox/app/blobs/sha256'), { recursive: true });
    await start('settle: {quiet: 50ms, timeout: 60s}\n');
    await waitFor('its turn to wait', () => said('drop.waiting').length > 0);
    expect(said('drop.waiting')[0]?.fields.reason).to.contain('lists no image');
    const content = new TestContent();
    content.writeLayout(join(root, 'inbox/app'), [{ image: content.image(), tag: '1' }]);
    const [receipt] = await receiptsCount(1);
    expect(receipt?.status).to.equal('published');
  });
});
