/**
 * Goal: no drop, however broken, crashes the daemon or is published with bytes that do not match their
 * digest; each drop gets a receipt. Method: valid drops of every format, each broken in one random way.
 * The seed is printed; DROPDOCK_TEST_SEED repeats a run, DROPDOCK_TEST_DROPS sets its length.
 */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { ERROR_CODES, type ErrorCode } from '#src/errors.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../support/deliver.js';
import { sha256, TestContent } from '../support/make-image.js';
import { dockerSaveMembers, makeTar, tarMembers } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { receipts, type TestServices, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { haveTools } from '../support/tools.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const DROPS = Number(process.env.DROPDOCK_TEST_DROPS ?? 500);

const random = makeRandom(SEED);
const below = (bound: number) => Math.floor(random() * bound);
function pick<T>(list: readonly T[]): T {
  const item = list[below(list.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

const PLAIN = ['layout', 'dir', 'layout.tar', 'layout.tar.gz', 'save.tar', 'save.tar.gz'];
const FORMATS = haveTools('zstd') ? [...PLAIN, 'layout.tar.zst'] : PLAIN;

/** A valid drop as a directory of files. */
function makeFiles(path: string, format: string): void {
  const content = new TestContent();
  const layers = ['base', `layer ${below(1000)}`];
  if (format.startsWith('save')) {
    for (const { path: name, body = '' } of dockerSaveMembers(
      [{ names: ['x:1'], layers }],
      sha256,
    )) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), body);
    }
  } else if (format === 'dir') content.writeSkopeoDir(path, content.image({ layers }));
  else {
    const image = content.image({ layers });
    content.writeLayout(path, [
      { image: random() < 0.5 ? image : content.index([image]), tag: '1' },
    ]);
  }
}

function filesBelow(path: string, under = ''): string[] {
  return readdirSync(join(path, under), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(path, join(under, entry.name)) : [join(under, entry.name)],
  );
}

const MUTATIONS: Record<string, (root: string, file: string, files: string[]) => void> = {
  'bit flip': (root, file) => {
    const bytes = readFileSync(join(root, file));
    const at = below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
    writeFileSync(join(root, file), bytes);
  },
  truncation: (root, file) => {
    truncateSync(join(root, file), below(readFileSync(join(root, file)).length));
  },
  growth: (root, file) => {
    writeFileSync(join(root, file), Buffer.alloc(1 + below(2000), 'x'), { flag: 'a' });
  },
  removal: (root, file) => rmSync(join(root, file)),
  rename: (root, file) => renameSync(join(root, file), join(root, `${file}x`)),
  swap: (root, file, files) => {
    const other = pick(files);
    const [a, b] = [file, other].map((each) => readFileSync(join(root, each)));
    writeFileSync(join(root, file), b ?? '');
    writeFileSync(join(root, other), a ?? '');
  },
  'link out': (root, file) => {
    rmSync(join(root, file));
    symlinkSync('/etc/passwd', join(root, file));
  },
  FIFO: (root, file) => {
    rmSync(join(root, file));
    execFileSync('mkfifo', [join(root, file)]);
  },
  'absurd number': (root, file) => {
    const text = readFileSync(join(root, file), 'latin1');
    writeFileSync(
      join(root, file),
      text.replace(/\d+/, pick(['1e308', '-1', `${2 ** 53}`])),
      'latin1',
    );
  },
  'other JSON': (root, file) => {
    const deep = '['.repeat(10_000);
    writeFileSync(
      join(root, file),
      pick([deep, 'null', '{}', '[]', '"x"', '{"manifests":[{}]}', '']),
    );
  },
  'hostile digest': (root, file) => {
    const text = readFileSync(join(root, file), 'latin1');
    const digest = pick(['sha256:../../../../etc/passwd', 'md5:00', 'sha256:', '__proto__']);
    writeFileSync(join(root, file), text.replace(/sha256:[0-9a-f]{64}/, digest), 'latin1');
  },
};

/** For a tar: a directory that holds links or FIFOs cannot be packed by reading it. */
const IN_TAR = Object.keys(MUTATIONS).filter((name) => name !== 'link out' && name !== 'FIFO');

function place(root: string, drop: string, format: string): string {
  const aside = join(root, 'aside');
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(aside);
  makeFiles(aside, format);
  const isArchive = format.includes('.tar');
  const mutation = pick(isArchive ? IN_TAR : Object.keys(MUTATIONS));
  const files = filesBelow(aside);
  MUTATIONS[mutation]?.(aside, pick(files), files);
  if (!isArchive) {
    renameSync(aside, dropPath(root, drop));
    return mutation;
  }
  let bytes: Buffer = makeTar(tarMembers(aside));
  if (format.endsWith('.gz')) bytes = gzipSync(bytes, { level: 1 });
  if (format.endsWith('.zst')) bytes = execFileSync('zstd', ['-q', '-c'], { input: bytes });
  const packed = random();
  if (packed < 0.3) bytes = bytes.subarray(0, below(bytes.length));
  else if (packed < 0.5) bytes[below(bytes.length)] = below(256);
  writeFileSync(dropPath(root, drop), bytes);
  return `${mutation} in ${format}`;
}

describe('mutated drops', function () {
  this.timeout(300_000);
  let services: TestServices;

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  it(`are published complete or rejected, ${DROPS} drops (seed ${SEED})`, async () => {
    const root = tempDir();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
    const codes = new Map<string, number>();
    for (let n = 0; n < DROPS; n++) {
      const format = pick(FORMATS);
      const drop = `r${n}:1${format.includes('.tar') ? format.slice(format.indexOf('.')) : ''}`;
      const what = place(root, drop, format);
      const outcome = await deliver(services, drop);
      const label = `drop ${n}, ${what}, seed ${SEED}`;
      expect(outcome?.status, label).to.be.oneOf(['published', 'rejected']);
      if (outcome?.status === 'published') {
        expect(readRepository(join(root, 'published'), `r${n}`)?.tags, label).to.have.keys('1');
      } else expect(readRepository(join(root, 'published'), `r${n}`), label).to.equal(undefined);
    }
    for (const { status, code = status } of receipts(root)) {
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (status === 'rejected') expect(ERROR_CODES[code as ErrorCode]?.fault).to.equal('content');
    }
    expect([...codes.values()].reduce((a, b) => a + b, 0)).to.equal(DROPS);
    console.info(`      ${[...codes].map(([code, count]) => `${code} ${count}`).join(', ')}`);
    // Most ways of breaking a drop are noticed, and by different checks.
    expect(codes.size).to.be.greaterThan(8);
  });
});
