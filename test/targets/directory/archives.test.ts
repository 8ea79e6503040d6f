/** Archive drops made by builders: every packing of every format, and what is rejected. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { prepareInbox } from '#src/inbox/claim.js';
import { scan } from '#src/inbox/scan-job.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { sha256, TestContent } from '../../support/make-image.js';
import { dockerSaveMembers, makeTar, type TarMember, tarMembers } from '../../support/make-tar.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { haveTools } from '../../support/tools.js';

const PACKINGS: Record<string, (tar: Buffer) => Buffer> = {
  tar: (tar) => tar,
  'tar.gz': (tar) => gzipSync(tar),
  ...(haveTools('zstd')
    ? { 'tar.zst': (tar) => execFileSync('zstd', ['-q', '-c'], { input: tar }) }
    : {}),
};

describe('an archive drop', () => {
  let root: string;
  let services: TestServices;

  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const drop = async (name: string, bytes: Buffer) => {
    writeFileSync(dropPath(root, name), bytes);
    await deliver(services, name);
    return receipts(root).at(-1);
  };
  const seen = (id: string) => readRepository(join(root, 'published'), id);

  function layoutMembers(): { members: TarMember[]; digests: string[] } {
    const content = new TestContent();
    const platforms = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
    const images = platforms.map((platform) =>
      content.image({ layers: [`for ${platform.architecture}`], platform }),
    );
    const index = content.index(images);
    const directory = join(tempDir(), 'layout');
    content.writeLayout(directory, [{ image: index, tag: '1.0' }]);
    return { members: tarMembers(directory), digests: [...content.blobs.keys()] };
  }

  for (const [extension, pack] of Object.entries(PACKINGS)) {
    it(`publishes a complete OCI layout (${extension})`, async () => {
      const { members, digests } = layoutMembers();
      const receipt = await drop(`app.${extension}`, pack(makeTar(members)));
      expect(receipt?.status).to.equal('published');
      expect(seen('app')?.tags).to.have.keys('1.0');
      for (const digest of digests) expect(seen('app')?.digests.has(digest), digest).to.equal(true);
    });

    it(`publishes a layout below one directory, and one with ./ before its names (${extension})`, async () => {
      const { members } = layoutMembers();
      const below = members.map((member) => ({ ...member, path: `layout/${member.path}` }));
      const dotted = members.map((member) => ({ ...member, path: `./${member.path}` }));
      expect((await drop(`one.${extension}`, pack(makeTar(below))))?.status).to.equal('published');
      expect((await drop(`two.${extension}`, pack(makeTar(dotted))))?.status).to.equal('published');
      expect(seen('one')?.tags).to.deep.equal(seen('two')?.tags);
    });

    it(`publishes a tar of skopeo dir: (${extension})`, async () => {
      const content = new TestContent();
      const image = content.image({ layers: ['a', 'b'] });
      const directory = join(tempDir(), 'dir');
      content.writeSkopeoDir(directory, image);
      const receipt = await drop(`app:2.${extension}`, pack(makeTar(tarMembers(directory))));
      expect(receipt?.status).to.equal('published');
      expect(seen('app')?.tags).to.deep.equal({ 2: image.digest });
    });

    it(`builds a reproducible manifest for a legacy docker-archive (${extension})`, async () => {
      const members = dockerSaveMembers([{ names: ['x:1'], layers: ['base', 'top'] }], sha256);
      const receipt = await drop(`app:1.${extension}`, pack(makeTar(members)));
      expect(receipt?.status).to.equal('published');
      expect(receipt?.warnings?.join()).to.contain('not that of the registry');
      // The same bytes everywhere: a change of this digest breaks clients that pinned it.
      expect(seen('app')?.tags['1']).to.equal(
        'sha256:30add787c81ff7c08fa7ccbabb3220505d5a93e4850889a004fd9322d6ac5a06',
      );
    });

    it(`waits for the rest of a truncated archive (${extension})`, async () => {
      const whole = pack(makeTar(layoutMembers().members));
      const receipt = await drop(
        `app.${extension}`,
        whole.subarray(0, Math.floor(whole.length / 2)),
      );
      expect(receipt).to.include({ status: 'rejected', code: 'archive.truncated' });
    });
  }

  for (const [extension, pack] of Object.entries(PACKINGS)) {
    it(`verifies sha512 as well (${extension})`, async () => {
      const sha512 = (bytes: Buffer) =>
        `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
      const layer = Buffer.from('a layer');
      const make = (bytes: Buffer) => {
        const content = new TestContent();
        const config = content.add('{}', 'application/vnd.oci.image.config.v1+json');
        const mediaType = 'application/vnd.oci.image.manifest.v1+json';
        const layerType = 'application/vnd.oci.image.layer.v1.tar';
        const layers = [{ mediaType: layerType, digest: sha512(layer), size: layer.length }];
        const manifest = { schemaVersion: 2, mediaType, config, layers };
        const image = content.add(JSON.stringify(manifest), mediaType);
        const directory = join(tempDir(), 'layout');
        content.writeLayout(directory, [{ image, tag: '1' }]);
        const path = `blobs/sha512/${sha512(layer).slice('sha512:'.length)}`;
        // A header holds 100 bytes of a name; GNU tar writes a longer one before it.
        const longName = { path: '././@LongLink', type: 'L', body: `${path}\0` };
        const named = [longName, { path: path.slice(0, 99), body: bytes }];
        return pack(makeTar([...tarMembers(directory), ...named]));
      };
      expect((await drop(`good.${extension}`, make(layer)))?.status).to.equal('published');
      const served = join(root, 'published/web/good/blobs', sha512(layer));
      expect(readFileSync(served, 'utf8')).to.equal('a layer');
      const receipt = await drop(`bad.${extension}`, make(Buffer.from('A layer')));
      expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch' });
    });
  }

  it('uses the last of several members with one name, as unpacking tools do', async () => {
    const { members } = layoutMembers();
    const index = members.find(({ path }) => path === 'index.json');
    const receipt = await drop(
      'app.tar',
      makeTar([{ path: 'index.json', body: '{"old": true}' }, ...members, index ?? { path: 'x' }]),
    );
    expect(receipt?.status).to.equal('published');
  });

  it('follows legacy layer links only inside the archive', async () => {
    const members = dockerSaveMembers([{ names: ['x:1'], layers: ['base'] }], sha256);
    const layer = members.find(({ path }) => path.endsWith('/layer.tar'));
    const moved = members.map((member) =>
      member === layer ? { ...member, path: 'shared.tar' } : member,
    );
    const link = { path: layer?.path ?? '', type: '2', link: '../shared.tar' };
    expect((await drop('app:1.tar', makeTar([link, ...moved])))?.status).to.equal('published');
    const evil = { ...link, link: '../../../../etc/passwd' };
    const receipt = await drop('evil:1.tar', makeTar([evil, ...moved]));
    expect(receipt).to.include({ status: 'rejected', code: 'path.outside' });
  });

  const HOSTILE: Record<string, [TarMember, string]> = {
    'a name with ..': [{ path: '../../etc/cron.d/x', body: 'x' }, 'path.outside'],
    'an absolute name': [{ path: '/etc/cron.d/x', body: 'x' }, 'path.outside'],
    'a symlink': [{ path: 'index.json', type: '2', link: '/etc/passwd' }, 'path.outside'],
    'a hard link': [{ path: 'index.json', type: '1', link: '/etc/passwd' }, 'path.outside'],
    'a device': [{ path: 'null', type: '3' }, 'file.type'],
    'a FIFO': [{ path: 'fifo', type: '6' }, 'file.type'],
    'a record that is too long': [{ path: 'x', type: 'x', size: 2 ** 30 }, 'limit.exceeded'],
  };
  for (const [what, [member, code]] of Object.entries(HOSTILE)) {
    for (const [extension, pack] of Object.entries(PACKINGS)) {
      it(`rejects ${what} (${extension})`, async () => {
        const bytes = pack(makeTar([member, ...layoutMembers().members]));
        expect(await drop(`app.${extension}`, bytes)).to.include({ status: 'rejected', code });
      });
    }
  }

  it('rejects a legacy layer whose bytes differ from the config', async () => {
    const members = dockerSaveMembers([{ names: ['x:1'], layers: ['base'] }], sha256).map(
      (member) =>
        member.path.endsWith('layer.tar')
          ? { ...member, body: makeTar([{ path: 'other', body: 'other' }]) }
          : member,
    );
    const receipt = await drop('app:1.tar', makeTar(members));
    expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch' });
  });

  it('treats every decompressor error as damaged content', async function () {
    if (!PACKINGS['tar.zst']) return this.skip();
    this.timeout(60_000);
    const whole = PACKINGS['tar.zst'](makeTar(layoutMembers().members));
    for (let at = 0; at < Math.min(whole.length, 200); at++) {
      const bytes = Buffer.from(whole);
      bytes[at] = (bytes[at] ?? 0) ^ 0x55;
      const receipt = await drop(`z${at}.tar.zst`, bytes);
      expect(receipt?.status, `byte ${at}`).to.be.oneOf(['published', 'rejected']);
    }
  });

  it('rejects a gzip bomb within seconds', async function () {
    this.timeout(30_000);
    const members = [{ path: 'bomb', body: Buffer.alloc(1), size: 4 * 1024 ** 3 }];
    const zeros = Buffer.concat([
      makeTar(members, { endMark: false }),
      Buffer.alloc(400 * 1024 ** 2),
    ]);
    const bytes = gzipSync(zeros);
    expect(bytes.length).to.be.lessThan(1024 * 1024);
    const receipt = await drop('bomb.tar.gz', bytes);
    expect(receipt).to.include({ status: 'rejected', code: 'limit.exceeded' });
  });

  it('rejects a tar of a million empty members within seconds', async function () {
    this.timeout(30_000);
    const one = makeTar([{ path: 'x' }], { endMark: false });
    const bytes = Buffer.alloc(one.length * 1_000_000, one);
    const receipt = await drop('many.tar', bytes);
    expect(receipt).to.include({ status: 'rejected', code: 'limit.exceeded' });
  });

  it('gives each repository of a bundle its images, or publishes none of them', async () => {
    const members = dockerSaveMembers(
      [
        { names: ['a:1', 'docker.io/library/b:2'], layers: ['base'] },
        { names: ['quay.io/team/c:3'], layers: ['base', 'c'] },
      ],
      sha256,
    );
    const { run, inbox } = services;
    writeFileSync(dropPath(root, '@both.tar'), makeTar(members));
    const { testDaemon } = await import('../../support/service.js');
    const { waitFor } = await import('../../support/wait-for.js');
    expect((await run(scan, { inbox, marker: undefined })).drops).to.have.length(1);
    const { stop } = await testDaemon(root);
    await waitFor('the receipt', () => receipts(root).length === 1);
    await stop();
    expect(seen('a')?.tags).to.have.keys('1');
    expect(seen('b')?.tags).to.have.keys('2');
    expect(seen('team~c')?.tags).to.have.keys('3');
    // Nobody gets content of another repository with the bundle they shared.
    const ofC = JSON.parse(readFileSync(join(root, 'published/web/team~c/manifests/2/3'), 'utf8'));
    expect(seen('a')?.digests.has(ofC.layers[1].digest)).to.equal(false);
    expect(receipts(root)[0]).to.include({ status: 'published', repository: null });
  });
});
