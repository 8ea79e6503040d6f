/** Layers of a docker-archive that are already compressed: decompressed and compared, and kept unchanged. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { EXPANSION_FACTOR_MAX } from '#src/image/limits.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { ExpansionBudget } from '#src/staging/store-layer.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { sha256 } from '../../support/make-image.js';
import {
  makeTar,
  type SavedTestImage,
  savedMembers,
  type TarMember,
} from '../../support/make-tar.js';
import { readRepository } from '../../support/outside-reader.js';
import { refusal } from '../../support/refusal.js';
import { type Receipt, receipts, type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { skippableFrame, zstdFrame, zstdRepeated } from '../../support/zstd-frames.js';

/** Not to be compressed: in what repeats itself, a flipped bit may lead to the same bytes. */
const layerTar = (text: string) => {
  const lines = Array.from({ length: 20 }, (_, at) => sha256(`${text} ${at}`));
  return makeTar([{ path: text, body: lines.join('\n') }]);
};
const COMPRESSIONS: Record<string, (tar: Buffer) => Buffer> = {
  gzip: (tar) => gzipSync(tar),
  zstd: (tar) => zstdFrame(tar),
};
/** How the archive comes: its layers are read from it, from where it was unpacked to, from a directory. */
const WAYS: Record<string, (root: string, name: string, members: readonly TarMember[]) => string> =
  {
    'a tar': (root, name, members) => write(root, `${name}.tar`, makeTar(members)),
    'a compressed tar': (root, name, members) =>
      write(root, `${name}.tar.gz`, gzipSync(makeTar(members))),
    'a directory': (root, name, members) => {
      for (const { path, body = '' } of members) write(root, `${name}/${path}`, body);
      return name;
    },
  };

function write(root: string, name: string, body: Buffer | string): string {
  mkdirSync(dirname(dropPath(root, name)), { recursive: true });
  writeFileSync(dropPath(root, name), body);
  return name;
}

describe('a compressed layer of a docker-archive', function () {
  this.timeout(60_000);
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

  const drop = async (
    name: string,
    images: readonly SavedTestImage[],
    way = 'a tar',
  ): Promise<Receipt | undefined> => {
    await deliver(services, WAYS[way]?.(root, name, savedMembers(images, sha256)) ?? '');
    return receipts(root).at(-1);
  };
  const served = (id: string, digest: string) =>
    readFileSync(join(root, 'published/web', id, 'blobs', digest));
  const tagsOf = (id: string) => readRepository(join(root, 'published'), id)?.tags ?? {};

  for (const [compression, pack] of Object.entries(COMPRESSIONS)) {
    for (const way of Object.keys(WAYS)) {
      it(`is published byte for byte (${compression}, ${way})`, async () => {
        const tars = ['base', 'top'].map(layerTar);
        const layers = tars.map((tar) => ({ body: pack(tar) }));
        const receipt = await drop('app:1', [{ layers, diffIds: tars.map(sha256) }], way);
        expect(receipt?.status, receipt?.message).to.equal('published');
        for (const { body } of layers) {
          expect(served('app', sha256(body)).equals(body)).to.equal(true);
        }
      });
    }

    const tar = layerTar('layer');
    const packed = pack(tar);
    const middle = packed.length >> 1;
    const last = packed.length - 1;
    const flipped = (at: number) => {
      const spoiled = Buffer.from(packed);
      spoiled[at] = (spoiled[at] ?? 0) ^ 0x10;
      return spoiled;
    };
    const broken: Record<string, Buffer> = {
      'is cut in half': packed.subarray(0, middle),
      'lacks its last byte': packed.subarray(0, last),
      'has one flipped bit': flipped(middle),
      'has one flipped bit in its last byte': flipped(last),
      'has a wrong checksum': flipped(compression === 'gzip' ? last - 6 : last - 2),
      'has one flipped bit in its header': flipped(3),
      'has data after its end': Buffer.concat([packed, Buffer.alloc(10)]),
      'is of another image': pack(layerTar('other')),
      'is only its first member': pack(tar.subarray(0, 512)),
      'holds its content twice': Buffer.concat([packed, packed]),
    };
    for (const [what, body] of Object.entries(broken)) {
      for (const way of Object.keys(WAYS)) {
        it(`is rejected when it ${what} (${compression}, ${way})`, async () => {
          const path = 'the-layer.tar';
          const image = { layers: [{ body, path }], diffIds: [sha256(tar)] };
          const receipt = await drop('app:1', [image], way);
          expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch', path });
          expect(receipt?.digest).to.equal(sha256(tar));
          expect(receipt?.message).to.contain(path);
          expect(tagsOf('app')).to.deep.equal({});
        });
      }
    }

    it(`may consist of several members (${compression})`, async () => {
      const body = Buffer.concat([pack(tar.subarray(0, 700)), pack(tar.subarray(700))]);
      const receipt = await drop('app:1', [{ layers: [{ body }], diffIds: [sha256(tar)] }]);
      expect(receipt?.status, receipt?.message).to.equal('published');
      expect(served('app', sha256(body)).equals(body)).to.equal(true);
    });

    it(`may occur twice (${compression})`, async () => {
      const layers = [{ body: packed }, { body: packed }];
      const receipt = await drop('app:1', [{ layers, diffIds: [sha256(tar), sha256(tar)] }]);
      expect(receipt?.status, receipt?.message).to.equal('published');
    });
  }

  it('is checked for each image that names it, not only for the first', async () => {
    const tar = layerTar('shared');
    const layer = { body: gzipSync(tar), path: 'shared.tar.gz' };
    const receipt = await drop('app', [
      { names: ['app:1'], layers: [layer], diffIds: [sha256(tar)] },
      { names: ['app:2'], layers: [layer], diffIds: [sha256('what the second says')] },
    ]);
    expect(receipt).to.include({ status: 'rejected', code: 'digest.mismatch' });
  });

  it('is checked with sha512 if its config says so', async () => {
    const tar = layerTar('layer');
    const sha512 = `sha512:${createHash('sha512').update(tar).digest('hex')}`;
    const layers = [{ body: gzipSync(tar) }];
    expect((await drop('good:1', [{ layers, diffIds: [sha512] }]))?.status).to.equal('published');
    const wrong = `${sha512.slice(0, -1)}${sha512.endsWith('0') ? '1' : '0'}`;
    expect(await drop('bad:1', [{ layers, diffIds: [wrong] }])).to.include({
      status: 'rejected',
      code: 'digest.mismatch',
    });
  });

  const tar = layerTar('layer');
  const layers = [{ body: gzipSync(tar) }];
  const counts: Record<string, [SavedTestImage, string]> = {
    'more layers than diff_ids': [{ layers, diffIds: [] }, 'json.invalid'],
    'fewer layers than diff_ids': [{ layers, diffIds: [sha256(tar), sha256(tar)] }, 'json.invalid'],
    'no diff_ids at all': [{ layers, diffIds: undefined }, 'json.invalid'],
    'invalid diff_ids': [{ layers, diffIds: ['sha256:x'] }, 'digest.invalid'],
  };
  for (const [what, [image, code]] of Object.entries(counts)) {
    it(`is rejected in an image with ${what}`, async () => {
      expect(await drop('app:1', [image])).to.include({ status: 'rejected', code });
    });
  }

  it('is checked against its digest among the blobs of a layout', async () => {
    const [body, other] = [gzipSync(tar, { level: 1 }), gzipSync(tar, { level: 9 })];
    const path = `blobs/sha256/${sha256(body).slice(7)}`;
    const diffIds = [sha256(tar)];
    const good = await drop('good:1', [{ layers: [{ body, path }], diffIds }]);
    expect(good?.status, good?.message).to.equal('published');
    expect(await drop('bad:1', [{ layers: [{ body: other, path }], diffIds }])).to.include({
      status: 'rejected',
      code: 'digest.mismatch',
      digest: sha256(body),
    });
  });

  it('may start with a skippable frame', async () => {
    const body = Buffer.concat([zstdFrame(tar), skippableFrame(Buffer.from('an index'))]);
    const receipt = await drop('app:1', [{ layers: [{ body }], diffIds: [sha256(tar)] }]);
    expect(receipt?.status, receipt?.message).to.equal('published');
  });

  it('is rejected, by name of the compression, when clients cannot read it', async () => {
    for (const [name, magic] of [
      ['xz', 'fd377a585a00'],
      ['bzip2', '425a6839'],
    ] as const) {
      const body = Buffer.concat([Buffer.from(magic, 'hex'), tar]);
      const image = { layers: [{ body, path: 'layer.tar' }], diffIds: [sha256(tar)] };
      const receipt = await drop(`${name}:1`, [image]);
      expect(receipt).to.include({ status: 'rejected', code: 'manifest.unsupported' });
      expect(receipt?.message).to.contain(`compressed with ${name}`);
    }
  });

  it('has a limit on its expanded size', async function () {
    this.timeout(120_000);
    // 2 GiB in 64 KB.
    const bomb = { body: zstdRepeated(16_384), path: 'bomb.tar.zst' };
    const image = { layers: [bomb], diffIds: [sha256('never reached')] };
    const receipt = await drop('app:1', [image]);
    expect(receipt).to.include({ status: 'rejected', code: 'limit.exceeded', path: bomb.path });
  });

  it('shares the expansion limit with the other layers of its drop', () => {
    const budget = new ExpansionBudget(1000);
    budget.addPacked(10);
    budget.addUnpacked(1000 + 10 * EXPANSION_FACTOR_MAX, 'first');
    const { code, details } = refusal(() => budget.addUnpacked(1, 'second'));
    expect([code, details.path]).to.deep.equal(['limit.exceeded', 'second']);
  });
});
