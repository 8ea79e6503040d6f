/**
 * Uploaders with write access to the inbox itself that create reserved names: the daemon keeps running,
 * the drops of others are published, and nothing outside the inbox changes.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath, prepareSweep, SWEEP_YAML, SWEPT_DROP } from '../../support/deliver.js';
import { interfereWith, systemError } from '../../support/faulty-disk.js';
import { blobPath, layerBytes, makeLayout, sha256 } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, testDaemon, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { needTools } from '../../support/tools.js';
import { waitFor } from '../../support/wait-for.js';
import { Witness } from '../../support/witness.js';

const OURS = ['.claimed', '.rejected', '.receipts'] as const;
const YAML = 'settle: {quiet: 10ms, timeout: 10m}\ninbox: {scan: 50ms}\nretry: {first: 20ms}\n';

describe('an uploader that creates reserved names', () => {
  let root: string;
  let witness: Witness;
  let daemon: Awaited<ReturnType<typeof testDaemon>> | undefined;

  beforeEach(() => {
    root = tempDir();
    mkdirSync(join(root, 'inbox'));
    witness = new Witness(join(root, 'witness'), new Map([['a', Buffer.from('a')]]));
  });

  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
    expect(witness.isUntouched(), 'the witness is untouched').to.equal(true);
    removeTempDirs();
  });

  const inbox = (...names: string[]) => join(root, 'inbox', ...names);
  /** One that is published, one that is refused, and a file that is. */
  const dropAll = () => {
    makeLayout(dropPath(root, 'good'), {});
    makeLayout(dropPath(root, 'Bad Name'), {});
    writeFileSync(dropPath(root, 'app:-.tar'), 'no archive');
  };
  const expectAllDone = async () => {
    const isOurs = () => lstatSync(inbox('.receipts')).isDirectory();
    await waitFor('all receipts', () => isOurs() && receipts(root).length === 3);
    expect(
      receipts(root)
        .map(({ status }) => status)
        .sort(),
    ).to.deep.equal(['published', 'rejected', 'rejected']);
    expect(readRepository(join(root, 'published'), 'good')?.tags).to.have.keys('1.0');
    const rejected = readdirSync(inbox('.rejected')).filter((name) => !name.startsWith('.'));
    expect(rejected).to.have.length(2);
    for (const name of rejected)
      expect(readdirSync(inbox('.rejected', name))).not.to.deep.equal([]);
    await waitFor('an empty .claimed', () => readdirSync(inbox('.claimed')).length === 0);
  };

  const PLANTS: Record<string, (path: string) => void> = {
    'a file': (path) => writeFileSync(path, 'x'),
    'a link to elsewhere': (path) => symlinkSync(witness.path, path),
    'a link to nothing': (path) => symlinkSync('nothing', path),
    'a FIFO': (path) => execFileSync('mkfifo', [path]),
  };

  for (const [what, plant] of Object.entries(PLANTS)) {
    it(`cannot disturb the daemon as ${what}, before it starts`, async () => {
      for (const name of OURS) plant(inbox(name));
      dropAll();
      daemon = await testDaemon(root, { disk: nodeDisk, yaml: YAML });
      await expectAllDone();
      // The previous entry is still there, for an investigation.
      const aside = readdirSync(inbox()).filter((name) => name.includes('set-aside'));
      expect(aside).to.have.length(OURS.length);
    });

    it(`cannot disturb the daemon as ${what}, while it runs`, async () => {
      daemon = await testDaemon(root, { disk: nodeDisk, yaml: YAML });
      for (const name of OURS) {
        renameSync(inbox(name), inbox(`${name}.mine`));
        plant(inbox(name));
      }
      dropAll();
      await expectAllDone();
    });
  }

  it('cannot disturb the daemon in .receipts and .rejected, with names that were free before', async () => {
    const taken = new Set<string>();
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      const [, to = ''] = paths.split(/ (?=\/)/);
      if (
        verb !== 'rename' ||
        !/\/\.(receipts|rejected)\/[^.]/.test(to) ||
        /set-aside/.test(to) ||
        taken.has(to)
      )
        return;
      taken.add(to);
      mkdirSync(to);
      writeFileSync(join(to, 'obstacle'), '');
    });
    dropAll();
    daemon = await testDaemon(root, { disk, yaml: YAML });
    await expectAllDone();
    expect(taken.size).to.be.at.least(4);
  });

  it('cannot disturb the daemon with 10,000 files in .receipts', async () => {
    mkdirSync(inbox('.receipts'));
    for (let n = 0; n < 10_000; n++) writeFileSync(inbox('.receipts', `.junk-${n}`), '');
    dropAll();
    daemon = await testDaemon(root, { disk: nodeDisk, yaml: YAML });
    await expectAllDone();
  });

  it('cannot stop publishes with an unwritable .receipts: receipts follow after repair', async () => {
    let isClosed = true;
    const disk = interfereWith(nodeDisk, (operation) => {
      const { verb, paths } = operation;
      if (isClosed && verb === 'open' && paths.includes('/.receipts/.p')) {
        throw systemError('EACCES', operation);
      }
    });
    dropAll();
    daemon = await testDaemon(root, { disk, yaml: `${YAML}lock: {stale: 2s}\n` });
    await waitFor('it to be published', () => readRepository(join(root, 'published'), 'good'));
    await waitFor('a word', () =>
      daemon?.services.lines.some(({ fields }) => fields.code === 'EACCES'),
    );
    isClosed = false;
    // What was refused is taken up again by the next round of the takeover.
    await waitFor('all receipts', () => receipts(root).length === 3, 30_000);
  }).timeout(40_000);
});

/** Maps a file and flips its first byte to and fro, through the mapping alone, until it is told to stop. */
const MAPPED_WRITER = `
import mmap, os, select, sys
fd = os.open(sys.argv[1], os.O_RDWR)
memory = mmap.mmap(fd, 0)
os.close(fd)
right = memory[0]
print('ready', flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(5000):
        memory[0] = right ^ 1
        memory[0] = right
memory[0] = right ^ 1
memory.flush()
`;

describe('an uploader that maps a blob into memory', () => {
  afterEach(removeTempDirs);

  it('cannot change published content by writing to the mapping', async function () {
    needTools(this, 'python3');
    this.timeout(60_000);
    const layer = sha256(layerBytes('new'));
    const seen = { old: 0, new: 0 };
    for (let round = 0; round < 5; round++) {
      const { root, look } = await prepareSweep();
      const blob = blobPath(dropPath(root, SWEPT_DROP), layer);
      chmodSync(blob, 0o666);
      const writer = spawn('python3', ['-c', MAPPED_WRITER, blob]);
      await once(writer.stdout, 'data');
      const services = await testServices(root, { disk: nodeDisk, yaml: SWEEP_YAML });
      const outcome = await deliver(services, SWEPT_DROP).catch((error: Error) => error);
      seen[look()]++;
      const ended = once(writer, 'exit');
      writer.stdin.end('\n');
      await ended;
      look();
      await services.close();
      if (outcome instanceof Error) throw outcome;
    }
    console.info(`      ${seen.old} refused, ${seen.new} published`);
    expect(seen.old + seen.new).to.equal(5);
  });
});
