/**
 * Goal: at any power cut the disk holds the old snapshot or the new one (I1, I2), the drop is not lost
 * (I3), and what was flipped and synced stays; the same for a manual change, a cleaning and the start
 * after a kill. Method: real filesystems in files; a copy of the file before an operation is the disk
 * after a power cut. Each run tries a different part of all moments; DROPDOCK_TEST_CUTS=all tries each.
 * The seed is printed.
 */
import { expect } from 'chai';
import { makeRandom } from '../support/random.js';
import { CHANGES, type Change } from './changes.js';
import { FILESYSTEMS, type FilesystemType, needImages } from './filesystem-image.js';
import { cutPower } from './power-cut.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const ALL = process.env.DROPDOCK_TEST_CUTS === 'all';
/** So many of all operations of a delivery are tried, about. */
const SHARE = 1 / 32;

/** What is not a delivery is cut once among the first, and at every so many operations after. */
const FIRST_MAX = 60;
const STEP = 110;

/** What the filesystem writes by itself before each operation. */
const WRITES = {
  nothing: () => () => false,
  'all metadata': () => () => true,
  'metadata now and then': (random: () => number) => () => random() < 0.1,
} as const;

describe('a power cut', () => {
  before(() => console.info(`      seed ${SEED}`));

  for (const [place, type] of FILESYSTEMS.entries()) {
    for (const [number, name] of Object.keys(CHANGES).entries()) {
      // Of the recoveries each on one filesystem, on others in other runs.
      const isTurn = !name.startsWith('recovery') || (number + SEED) % 3 === place;
      if (!ALL && !isTurn) continue;
      const isPublish = name === 'publish';
      const promise = isPublish
        ? 'the old snapshot or the new one, and no drop is lost'
        : 'done or not done';
      for (const [what, writes] of Object.entries(WRITES).slice(ALL || isPublish ? 0 : -1)) {
        it(`on ${type}, ${name}, ${what}: ${promise}`, async function () {
          this.timeout(ALL ? 3_600_000 : 120_000);
          needImages(this, type);
          await cut({ type, name, what, writes });
        });
      }
    }
  }
});

interface Trial {
  readonly type: FilesystemType;
  readonly name: string;
  /** What the filesystem writes by itself. */
  readonly what: string;
  readonly writes: (random: () => number) => () => boolean;
}

async function cut({ type, name, what, writes }: Trial): Promise<void> {
  const change = CHANGES[name];
  if (change === undefined) throw new Error(`no change ${name}`);
  const random = makeRandom(SEED + name.length + type.length + what.length);
  const first = 1 + Math.floor(random() * FIRST_MAX);
  const isCut = (operation: number) => {
    if (ALL) return true;
    return name === 'publish' ? random() < SHARE : operation % STEP === first;
  };
  const plan = { type, change, isCut, isCommitted: writes(random) };
  const result = await cutPower(plan);
  const { cuts, violations } = result;
  console.info(
    `      ${type}, ${name}, writes ${what}: ${cuts} cuts, ${result.old} old, ` +
      `${result.new} new, ${violations.length} violations, of ${result.operations} operations`,
  );
  expect(violations).to.deep.equal([]);
  if (ALL || name === 'publish') expect(cuts).to.be.greaterThan(3);
}

describe('a power cut with one sync left out', () => {
  /** Each with when it is seen: data that is not there, or a name that is not. */
  const SYNCS: Record<string, RegExp> = {
    'of manifests in the store, as they came and converted':
      /\/state\/work\/[^/]+\/[0-9a-f]{16}-\d+$/,
    'of a tag': /\/tree\/manifests\/oci\/1$/,
    'of a tag in its Docker form': /\/tree\/manifests\/2\/1$/,
    'of the list of tags': /\/tree\/tags\/list$/,
    'of the redirect file': /\/tree\/app\.json$/,
    'of the receipt': /\/\.receipts\/\.[^/]+$/,
  };

  for (const [what, withoutSync] of Object.entries(SYNCS)) {
    it(`is detected: ${what}`, async function () {
      this.timeout(60_000);
      needImages(this, 'ext4');
      const isCut = (operation: number) => operation > 300 && operation % 12 === 0;
      const isCommitted = (operation: number) => operation % 2 === 0;
      const change = CHANGES.publish as Change;
      const result = await cutPower({ type: 'ext4', change, withoutSync, isCut, isCommitted });
      expect(result.violations, `${result.cuts} cuts`).not.to.deep.equal([]);
    });
  }
});
