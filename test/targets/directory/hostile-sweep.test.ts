/**
 * Goal: whatever an uploader does to its drop, to the inbox or to a file it still has open for writing,
 * and whenever: published bytes are the verified ones (I5), nothing outside the inbox changes, and the
 * drops of others are published. Method: the uploader acts just before the k-th disk operation of a
 * delivery, through descriptors it kept, so that no permission on a path stops it. Each run tries
 * different k; DROPDOCK_TEST_POINTS=all tries each.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  fstatSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath, prepareSweep, SWEEP_YAML, SWEPT_DROP } from '../../support/deliver.js';
import { interfereWith } from '../../support/faulty-disk.js';
import { layerBytes, makeLayout, sha256 } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { testServices } from '../../support/service.js';
import { removeTempDirs } from '../../support/temp-dir.js';
import { Witness } from '../../support/witness.js';

const STEP = process.env.DROPDOCK_TEST_POINTS === 'all' ? 1 : 60;
const FIRST = 1 + (Date.now() % STEP);
const LAYER = sha256(layerBytes('new')).slice('sha256:'.length);

/** What an uploader holds before its drop is claimed. */
class Uploader {
  readonly #open: number[] = [];
  readonly witness: Witness;
  readonly layer: number;
  /** Another name for the layer, which the uploader can always reach. */
  readonly kept: string;
  /** Whoever opens it for reading, and does not take care, waits for ever. */
  readonly fifo: string;

  constructor(readonly root: string) {
    this.fifo = join(root, 'fifo');
    execFileSync('mkfifo', [this.fifo]);
    const drop = dropPath(root, SWEPT_DROP);
    // As of another user, who may still write to it: it has to be copied.
    execFileSync('chmod', ['-R', 'go+w', drop]);
    this.drop = this.#directory(drop);
    this.blobs = this.#directory(join(drop, 'blobs'));
    this.files = this.#directory(join(drop, 'blobs/sha256'));
    const layer = join(drop, 'blobs/sha256', LAYER);
    this.layer = openSync(layer, 'r+');
    this.#open.push(this.layer);
    this.kept = join(root, 'kept');
    linkSync(layer, this.kept);
    const names = readdirSync(join(drop, 'blobs/sha256'));
    const bytes = names.map((name) => readFileSync(join(drop, 'blobs/sha256', name)));
    // The right bytes: a digest check does not detect that a link was followed.
    const files = new Map(names.map((name, n) => [name, bytes[n] as Buffer]));
    files.set('index.json', readFileSync(join(drop, 'index.json')));
    this.witness = new Witness(join(root, 'witness'), files);
  }

  readonly drop: string;
  readonly blobs: string;
  readonly files: string;

  #directory(path: string): string {
    const fd = openSync(path, 'r');
    this.#open.push(fd);
    return `/proc/self/fd/${fd}`;
  }

  /** Something else under a name: what was there lies beside it. */
  swap(path: string, put: (path: string) => void): void {
    renameSync(path, `${path}.aside`);
    put(path);
  }

  scribble(fd = this.layer): void {
    writeSync(fd, Buffer.alloc(fstatSync(fd).size, 'x'), 0, undefined, 0);
  }

  leave(): void {
    for (const fd of this.#open) closeSync(fd);
  }
}

const ours =
  (name: string) =>
  ({ root, witness, swap }: Uploader) =>
    swap(join(root, 'inbox', name), (path) => symlinkSync(witness.path, path));

const ATTACKS: Record<string, (he: Uploader) => void> = {
  'swaps the directory of the blobs for a link': (he) =>
    he.swap(`${he.blobs}/sha256`, (path) => symlinkSync(he.witness.path, path)),
  'swaps a blob for a link': (he) =>
    he.swap(`${he.files}/${LAYER}`, (path) => symlinkSync(join(he.witness.path, LAYER), path)),
  'swaps a blob for another file': (he) =>
    he.swap(`${he.files}/${LAYER}`, (path) => writeFileSync(path, 'other bytes')),
  'swaps a blob for a FIFO': (he) =>
    he.swap(`${he.files}/${LAYER}`, (path) => renameSync(he.fifo, path)),
  'swaps the index for a FIFO': (he) =>
    he.swap(`${he.drop}/index.json`, (path) => renameSync(he.fifo, path)),
  'writes to a blob through a descriptor': (he) => he.scribble(),
  'writes to a blob by another name': (he) => {
    const fd = openSync(he.kept, 'r+');
    he.scribble(fd);
    closeSync(fd);
  },
  'swaps its drop for a link': ({ root, witness, swap }) =>
    swap(dropPath(root, SWEPT_DROP), (path) => symlinkSync(join(witness.path, 'sub'), path)),
  'swaps its namespace for a link': ({ root, witness, swap }) =>
    swap(dirname(dropPath(root, SWEPT_DROP)), (path) => symlinkSync(witness.path, path)),
  'swaps .claimed for a link': ours('.claimed'),
  'swaps .rejected for a link': ours('.rejected'),
  'swaps .receipts for a link': ours('.receipts'),
};

/** @returns false when the delivery ended before its k-th operation */
async function attackOnce(k: number, attack: (he: Uploader) => void): Promise<boolean> {
  const { root, look } = await prepareSweep();
  const he = new Uploader(root);
  let number = Number.NEGATIVE_INFINITY;
  let attacked = false;
  const disk = interfereWith(nodeDisk, () => {
    if (++number !== k) return;
    attacked = true;
    try {
      attack(he);
    } catch (error) {
      // The target of the attack does not exist yet, or no longer.
      if ((error as { code?: string }).code !== 'ENOENT') throw error;
    }
  });
  const services = await testServices(root, { disk, yaml: SWEEP_YAML });
  try {
    number = 0;
    await deliver(services, SWEPT_DROP);
  } catch (error) {
    // Rejected or retried, but no unexpected error.
    if ((error as { code?: string }).code === undefined) throw error;
  }
  look();
  number = Number.NEGATIVE_INFINITY;
  makeLayout(dropPath(root, 'other:1'), {});
  expect((await deliver(services, 'other:1'))?.status).to.equal('published');
  await services.close();
  // He goes on after it is published.
  he.scribble();
  chmodSync(he.kept, 0o666);
  writeFileSync(he.kept, 'y');
  look();
  expect(readRepository(join(root, 'published'), 'other')?.tags).to.have.keys('1');
  expect(he.witness.isUntouched(), 'the witness is untouched').to.equal(true);
  he.leave();
  removeTempDirs();
  return attacked;
}

describe('an uploader that interferes at the k-th disk operation', () => {
  afterEach(removeTempDirs);

  for (const [what, attack] of Object.entries(ATTACKS)) {
    it(`and ${what}, affects only its own drop`, async function () {
      this.timeout(600_000);
      const descriptors = readdirSync('/proc/self/fd').length;
      let k = FIRST;
      while (await attackOnce(k, attack)) k += STEP;
      console.info(`      ${Math.ceil((k - FIRST) / STEP)} points`);
      expect(k, 'points before and after the flip').to.be.greaterThan(300);
      expect(readdirSync('/proc/self/fd').length).to.be.at.most(descriptors);
    });
  }
});
