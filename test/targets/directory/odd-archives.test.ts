/**
 * Goal: archives with the peculiarities of real tools are published, or rejected with a message that says
 * what they are; and at once, as nothing will be added to them. Method: all are given to one daemon that
 * neither times out nor scans periodically within the test, so that every receipt is immediate.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { makeLayout, sha256, TestContent } from '../../support/make-image.js';
import { dockerSaveMembers, makeTar, type TarMember, tarMembers } from '../../support/make-tar.js';
import { readRepository } from '../../support/outside-reader.js';
import { type Receipt, receipts, testDaemon } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { hasTools } from '../../support/tools.js';
import { waitFor } from '../../support/wait-for.js';

const YAML = 'settle: {quiet: 50ms, timeout: 10m}\ninbox: {scan: 10m}\n';
const APPLE_DOUBLE = Buffer.from('\0\x05\x16\x07\0\x02\0\0Mac OS X        ', 'latin1');

const pax = (...records: string[]): TarMember => ({
  path: 'PaxHeaders/x',
  type: 'x',
  body: records
    .map((record) => {
      const length = record.length + 2;
      return `${length + String(length + String(length).length).length} ${record}\n`;
    })
    .join(''),
});
const saved = () => dockerSaveMembers([{ names: ['x:1'], layers: ['base', 'top'] }], sha256);
const withManifest = (change: (entry: { Config: string; Layers: string[] }) => object) =>
  saved().map((member) => {
    if (member.path !== 'manifest.json') return member;
    const [entry] = JSON.parse(String(member.body));
    return { ...member, body: JSON.stringify([{ ...entry, ...change(entry) }]) };
  });
function layout(): TarMember[] {
  const content = new TestContent();
  const directory = join(tempDir(), 'layout');
  content.writeLayout(directory, [{ image: content.image({ layers: ['a', 'b'] }), tag: '1' }]);
  return tarMembers(directory);
}
const below = (directory: string, members: TarMember[]) =>
  members.map((member) => ({ ...member, path: `${directory}/${member.path}` }));
/** As `docker export` writes it, without and with its own file. */
const exported = (...first: TarMember[]): TarMember[] => [
  ...first,
  { path: 'bin/', type: '5' },
  { path: 'bin/busybox', body: 'ELF' },
  { path: 'bin/sh', type: '1', link: 'bin/busybox' },
  { path: 'dev/console', type: '3' },
  { path: 'etc/mtab', type: '2', link: '/proc/mounts' },
  { path: 'usr/', type: '5' },
];
const skippable = (body: string, magic = 0x50) =>
  Buffer.concat([Buffer.from([magic, 0x2a, 0x4d, 0x18, body.length, 0, 0, 0]), Buffer.from(body)]);
const pack = (tool: string, tar: Buffer, ...flags: string[]) =>
  execFileSync(tool, [...flags, '-c'], { input: tar, stdio: ['pipe', 'pipe', 'pipe'] });
/** PowerShell's `>`: bytes become characters, and these UTF-16 with a byte order mark. */
const utf16 = (bytes: Buffer) =>
  Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(bytes.toString('latin1'), 'utf16le')]);

const PUBLISHED: Record<string, () => Buffer> = {
  'a label before a layout (tar -V)': () =>
    makeTar([{ path: '/my ../label', type: 'V' }, ...layout()]),
  'a label, compressed': () => gzipSync(makeTar([{ path: 'label', type: 'V' }, ...saved()])),
  'AppleDouble files beside and below the directory of a layout': () =>
    makeTar([
      { path: './._app', body: APPLE_DOUBLE },
      { path: './app/._index.json', body: APPLE_DOUBLE },
      { path: './app/blobs/._sha256', body: APPLE_DOUBLE },
      ...below('./app', layout()),
      { path: '__MACOSX/app/._index.json', body: APPLE_DOUBLE },
    ]),
  'AppleDouble files beside the directory of a docker save archive': () =>
    gzipSync(makeTar([{ path: '._app', body: APPLE_DOUBLE }, ...below('app', saved())])),
  'other files beside the directory of a layout': () =>
    makeTar([
      { path: '.DS_Store', body: 'x' },
      { path: 'README', body: 'x' },
      ...below('out/app', layout()),
    ]),
  'manifest.json with ./ before its paths': () =>
    makeTar(
      withManifest(({ Config, Layers }) => ({
        Config: `./${Config}`,
        Layers: Layers.map((path) => `.//${path}`),
      })),
    ),
  'manifest.json with backslashes': () =>
    makeTar(
      withManifest(({ Layers }) => ({ Layers: Layers.map((path) => path.replace('/', '\\')) })),
    ),
  'backslashes in the names of members': () =>
    makeTar(saved().map((member) => ({ ...member, path: member.path.replace('/', '\\') }))),
  'links that lead to links': () => {
    const members = saved().map((member) =>
      member.path.startsWith(firstLayer()) ? { ...member, path: 'shared.tar' } : member,
    );
    const links = [
      { path: firstLayer(), type: '2', link: '../other/layer.tar' },
      { path: 'other/layer.tar', type: '2', link: '../shared.tar' },
    ];
    return makeTar([...links, ...members]);
  },
};
const firstLayer = () => saved().find(({ path }) => path.endsWith('/layer.tar'))?.path ?? '';

if (hasTools('zstd') || process.env.CI) {
  const zstd = (bytes: Buffer) => pack('zstd', bytes, '-q');
  PUBLISHED['zstd with skippable frames before, between and after its frames (pzstd)'] = () => {
    const tar = makeTar(layout());
    return Buffer.concat([
      skippable('1234'),
      zstd(tar.subarray(0, 700)),
      skippable('', 0x5f),
      zstd(tar.subarray(700)),
      skippable('a seek table', 0x5e),
    ]);
  };
}
if (hasTools('xz') || process.env.CI) {
  PUBLISHED.xz = () => pack('xz', makeTar(layout()));
  PUBLISHED['xz of docker save, in several blocks and streams'] = () => {
    const tar = makeTar(saved());
    const first = pack('xz', tar.subarray(0, 3000), '-T2', '--block-size=1024');
    return Buffer.concat([first, pack('xz', tar.subarray(3000), '-9', '--check=crc32')]);
  };
}

interface Refused {
  readonly make: () => Buffer;
  readonly code: string;
  readonly says: RegExp;
}

const sparse = (...records: string[]) =>
  makeTar([pax(...records), { path: 'GNUSparseFile.1/layer.tar', body: 'map' }, ...saved()]);

const REFUSED: Record<string, Refused> = {
  'a sparse member, pax 1.0': {
    make: () => sparse('GNU.sparse.major=1', 'GNU.sparse.minor=0', 'GNU.sparse.name=l/layer.tar'),
    code: 'file.type',
    says: /l\/layer\.tar is stored as a sparse file/,
  },
  'a sparse member, pax 0.0': {
    make: () => gzipSync(sparse('GNU.sparse.size=9', 'GNU.sparse.numblocks=1')),
    code: 'file.type',
    says: /GNUSparseFile\.1\/layer\.tar is stored as a sparse file/,
  },
  'a sparse member, old GNU form': {
    make: () => makeTar([{ path: 'l/layer.tar', type: 'S' }, ...saved()]),
    code: 'file.type',
    says: /l\/layer\.tar is stored as a sparse file/,
  },
  'docker export': {
    make: () => makeTar(exported({ path: '.dockerenv' })),
    code: 'format.unknown',
    says: /docker export.*docker save/,
  },
  'docker export, compressed': {
    make: () => gzipSync(makeTar(exported({ path: '.dockerenv' }))),
    code: 'format.unknown',
    says: /docker export.*docker save/,
  },
  'podman export': {
    make: () => makeTar(exported()),
    code: 'format.unknown',
    says: /docker export.*docker save/,
  },
  'an exported container without links': {
    make: () => makeTar(['bin', 'etc', 'usr'].map((top) => ({ path: `${top}/x`, body: 'x' }))),
    code: 'format.unknown',
    says: /docker export.*docker save/,
  },
  bzip2: {
    make: () => Buffer.from('BZh91AY&SY and more', 'latin1'),
    code: 'format.unknown',
    says: /bzip2 is not supported, use gzip or zstd/,
  },
  'UTF-16': {
    make: () => utf16(makeTar(saved())),
    code: 'format.unknown',
    says: /UTF-16.*docker save -o/,
  },
  'UTF-16 of a compressed archive': {
    make: () => utf16(gzipSync(makeTar(saved()))),
    code: 'format.unknown',
    says: /UTF-16.*docker save -o/,
  },
  'a link to a missing layer': {
    make: () =>
      makeTar([
        { path: firstLayer(), type: '2', link: '../gone/layer.tar' },
        ...saved().filter(({ path }) => path !== firstLayer()),
      ]),
    code: 'content.missing',
    says: /layer\.tar/,
  },
  'a cycle of links': {
    make: () =>
      makeTar([
        { path: firstLayer(), type: '2', link: '../b/layer.tar' },
        { path: 'b/layer.tar', type: '2', link: `../${firstLayer()}` },
        ...saved().filter(({ path }) => path !== firstLayer()),
      ]),
    code: 'content.missing',
    says: /layer\.tar/,
  },
  'an empty layer path': {
    make: () => makeTar(withManifest(({ Layers }) => ({ Layers: ['', ...Layers.slice(1)] }))),
    code: 'json.invalid',
    says: /The path "" in manifest\.json is empty/,
  },
  'a layer path outside the archive': {
    make: () => makeTar(withManifest(({ Layers }) => ({ Layers: ['..\\x', ...Layers.slice(1)] }))),
    code: 'path.outside',
    says: /points outside/,
  },
  'a missing layer': {
    make: () => makeTar(saved().filter(({ path }) => path !== firstLayer())),
    code: 'content.missing',
    says: /layer\.tar/,
  },
  'two layouts in two directories': {
    make: () => makeTar([...below('one', layout()), ...below('two', layout())]),
    code: 'format.unknown',
    says: /several image directories: one, two/,
  },
  'no image': {
    make: () => makeTar([{ path: 'src/main.c', body: 'x' }]),
    code: 'format.unknown',
    says: /contains no image, only main\.c/,
  },
};

if (hasTools('xz') || process.env.CI) {
  REFUSED['xz with a check it has not'] = {
    make: () => pack('xz', makeTar(saved()), '--check=sha256'),
    code: 'format.unknown',
    says: /xz archive uses .*use gzip or zstd/,
  };
  REFUSED['damaged xz'] = {
    make: () => {
      const bytes = pack('xz', makeTar(saved()));
      bytes[100] = (bytes[100] ?? 0) ^ 0x55;
      return bytes;
    },
    code: 'archive.damaged',
    says: /damaged/,
  };
}

/** Nothing is said of these yet: their rest may come. */
const WAITING: Record<string, () => Buffer> = {
  'an empty file': () => Buffer.alloc(0),
  'the first bytes of bzip2': () => Buffer.from('BZh9'),
  'the first bytes of xz': () => Buffer.from([0xfd, 0x37, 0x7a]),
  'a byte order mark': () => Buffer.from([0xff, 0xfe]),
  'a note in UTF-16': () =>
    Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('a note\r\n', 'utf16le')]),
  'the start of docker export': () => makeTar(exported(), { endMark: false }),
  'the start of docker save': () => makeTar(saved().slice(0, 2), { endMark: false }),
  'the start of gzip': () => gzipSync(makeTar(saved())).subarray(0, 200),
  'a gzip file with preallocated space': () =>
    Buffer.concat([gzipSync(makeTar(saved())).subarray(0, 200), Buffer.alloc(200_000)]),
  'a tar with preallocated space': () =>
    Buffer.concat([makeTar(saved().slice(0, 2)), Buffer.alloc(2 * 1024 ** 2)]),
  ...(hasTools('xz') || process.env.CI
    ? { 'the beginning of xz': () => pack('xz', makeTar(saved())).subarray(0, 200) }
    : {}),
};

/** What lies in a layout and no manifest names. */
const STRAY: Record<string, readonly string[]> = {
  'an empty ingest directory (oras)': ['ingest/'],
  'files left by Finder': ['.DS_Store', '._index.json', 'blobs/sha256/._5a0f'],
  'stamps and notes': ['.stamp_built', '.gitkeep', 'README', 'index.json~', 'build.lock'],
};

describe('odd archives', function () {
  this.timeout(120_000);
  let root: string;
  let daemon: Awaited<ReturnType<typeof testDaemon>>;
  const nameOf = (what: string) => `${what.toLowerCase().replace(/[^a-z0-9]+/g, '-')}x:1.tar`;

  before(async () => {
    root = tempDir();
    daemon = await testDaemon(root, { yaml: YAML });
    const drop = (what: string, bytes: Buffer) =>
      writeFileSync(join(root, 'inbox', nameOf(what)), bytes);
    for (const [what, make] of Object.entries({ ...PUBLISHED, ...WAITING })) drop(what, make());
    for (const [what, { make }] of Object.entries(REFUSED)) drop(what, make());
    for (const [what, names] of Object.entries(STRAY)) {
      const directory = join(root, 'inbox', nameOf(what));
      makeLayout(directory);
      for (const name of names) {
        if (name.endsWith('/')) mkdirSync(join(directory, name));
        else writeFileSync(join(directory, name), 'x');
      }
    }
    const count = [PUBLISHED, REFUSED, STRAY].flatMap((kinds) => Object.keys(kinds)).length;
    // Where some never come, the tests say which.
    await waitFor('the receipts', () => receipts(root).length >= count, 60_000).catch(() => {});
    const isSaid = (what: string) =>
      daemon.services.lines.some(
        ({ event, fields }) =>
          /^drop\.(?:waiting|ignored)$/.test(event) && fields.drop === nameOf(what),
      );
    await waitFor('word of what waits', () => Object.keys(WAITING).every(isSaid)).catch(() => {});
  });
  after(async () => {
    await daemon.stop();
    removeTempDirs();
  });

  const receiptOf = (what: string): Receipt | undefined =>
    receipts(root).find(({ drop }) => drop === nameOf(what));

  for (const what of Object.keys(PUBLISHED)) {
    it(`are published at once: ${what}`, () => {
      expect(receiptOf(what)?.status, receiptOf(what)?.message).to.equal('published');
      const id = nameOf(what).replace(':1.tar', '');
      expect(readRepository(join(root, 'published'), id)?.tags).to.have.keys('1');
    });
  }

  for (const what of Object.keys(STRAY)) {
    it(`a layout with ${what} is published at once`, () => {
      expect(receiptOf(what)?.status, receiptOf(what)?.message).to.equal('published');
    });
  }

  for (const [what, { code, says }] of Object.entries(REFUSED)) {
    it(`are rejected at once with a clear message: ${what}`, () => {
      expect(receiptOf(what)).to.include({ status: 'rejected', code });
      expect(receiptOf(what)?.message).to.match(says);
    });
  }

  for (const what of Object.keys(WAITING)) {
    it(`are left in place: ${what}`, () => {
      expect(receiptOf(what)).to.equal(undefined);
      expect(readdirSync(join(root, 'inbox'))).to.include(nameOf(what));
    });
  }
});
