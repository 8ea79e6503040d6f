/**
 * Operations that only read a tree succeed beside a daemon that publishes and cleans. Method: the
 * production cleaning runs between disk operations of a reader, once with a stale snapshot and once with
 * a snapshot that was just current; nothing is thrown, and no intact content is reported as a problem.
 * Content that is really missing is still reported.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { RepositoryId } from '#src/image/names.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Timestamp } from '#src/repository/timestamp.js';
import { readClock } from '#src/storage/clock.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { snapshotPath, type TreeRoots } from '#src/storage/tree-paths.js';
import { snapshotChanges, snapshotFacts, snapshotSummary } from '#src/targets/directory/browse.js';
import { cleanRepository, planClean } from '#src/targets/directory/clean-snapshots.js';
import { countRepositories } from '#src/targets/directory/count-repositories.js';
import { replacePivot } from '#src/targets/directory/flip.js';
import { carriedBy } from '#src/targets/directory/kept-for-grace.js';
import {
  repositoryContents,
  repositoryHistory,
  repositoryOverview,
} from '#src/targets/directory/overview.js';
import { readLocalText } from '#src/targets/directory/pivot.js';
import { planSweep, sweep } from '#src/targets/directory/sweep.js';
import {
  verifyContent,
  verifyRepository,
  verifyTrash,
} from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { countingDisk, interfereWith } from '../../support/faulty-disk.js';
import { makeLayout } from '../../support/make-image.js';
import { makeRandom } from '../../support/random.js';
import { testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const ID = 'app' as RepositoryId;
/** So many operations of each reader, evenly spread. */
const MOMENTS = Number(process.env.DROPDOCK_TEST_MOMENTS ?? 15);

interface Given {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
}

const later = () => ({ nowMs: Date.now() + 1000, clock: readClock(), graceMs: 0 });
const findingsOf = (result: { findings: readonly unknown[] }) => result.findings;

/** Each returns what is wrong, as far as it says so. */
const READERS: Record<string, (disk: Disk, given: Given) => unknown> = {
  'verify of a repository': (disk, given) => findingsOf(verifyRepository(disk, given)),
  'verify of the store': (disk, given) => findingsOf(verifyContent(disk, given)),
  'verify of the trash': (disk, { roots }) =>
    findingsOf(verifyTrash(disk, { roots, nowMs: Date.now() })),
  status: (disk, given) => {
    const overview = repositoryOverview(disk, given);
    expect(overview?.tags).to.have.length(1);
    expect(repositoryContents(disk, given).size).to.be.greaterThan(0);
    return [];
  },
  history: (disk, given) => {
    expect(repositoryHistory(disk, given)).to.have.length.at.least(2);
    return [];
  },
  'clean --dry-run': (disk, { roots, id }) => {
    const { current } = planClean(disk, { roots, id, keep: 1, ...later() });
    const renewing = [{ id, snapshot: current as Timestamp }];
    planSweep(disk, { roots, ...later(), going: [], renewing });
    return [];
  },
  'the page': (disk, given) => {
    snapshotFacts(disk, given);
    snapshotSummary(disk, given);
    snapshotChanges(disk, { ...given, count: 10 });
    carriedBy(disk, given);
    countRepositories(disk, given);
    return [];
  },
  copy: (disk, given) => {
    expect(readLocalText(disk, given)?.text.length).to.be.greaterThan(100);
    return [];
  },
};

describe('reading a tree while it is cleaned', () => {
  const seed = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 1_000_000_000);
  const random = makeRandom(seed);
  let made: string;
  let names: Timestamp[];

  before(async () => {
    made = join(tempDir(), 'made');
    const yaml = 'retention: {grace: 0s, keep: 5}\n';
    const services = await testServices(made, { disk: nodeDisk, yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
    for (const layer of ['one', 'two']) {
      makeLayout(dropPath(made, 'app:1'), { layers: ['base', layer] });
      await deliver(services, 'app:1');
    }
    await services.close();
    names = readdirSync(join(made, 'published/master/app')).sort() as Timestamp[];
    expect(names).to.have.length(2);
  });
  after(removeTempDirs);

  /** With its hard links. */
  const copy = (n: number) => {
    const root = join(made, '..', `copy ${n}`);
    rmSync(root, { recursive: true, force: true });
    execFileSync('cp', ['-a', made, root]);
    return { published: join(root, 'published'), state: join(root, 'state') };
  };
  /** What a cleaning does, under the lock and after it. */
  const clean = (roots: TreeRoots) => {
    const gone = cleanRepository(nodeDisk, { roots, id: ID, keep: 1, ...later() });
    expect(gone).to.have.length(1);
    sweep(nodeDisk, { roots, ...later() });
  };
  const flipAndClean = (roots: TreeRoots) => {
    const [first] = names as [Timestamp];
    replacePivot(nodeDisk, roots, ID, { to: first, owner: 'other' });
    clean(roots);
  };

  for (const [name, read] of Object.entries(READERS)) {
    for (const [what, meanwhile, at] of [
      ['a stale snapshot is removed', clean, 0],
      ['the current one is replaced and removed', flipAndClean, 1],
    ] as const) {
      it(`${name} succeeds while ${what} (seed ${seed})`, () => {
        const counted = countingDisk();
        const whole = copy(0);
        read(counted.disk, { roots: whole, id: ID, snapshot: names[at] as Timestamp });
        const stride = Math.ceil(counted.count() / MOMENTS);
        for (let k = 1 + Math.floor(random() * stride); k <= counted.count(); k += stride) {
          const roots = copy(k);
          let isDone = false;
          const disk = interfereWith(nodeDisk, ({ number }) => {
            if (number !== k) return;
            isDone = true;
            meanwhile(roots);
          });
          const given = { roots, id: ID, snapshot: names[at] as Timestamp };
          expect(read(disk, given), `operation ${k}`).to.deep.equal([]);
          expect(isDone).to.equal(true);
          rmSync(join(roots.state, '..'), { recursive: true });
        }
      }).timeout(120_000);
    }
  }

  it('a cleaning keeps a snapshot that another host makes current at the last moment', () => {
    const roots = copy(0);
    const [first] = names as [Timestamp];
    let reads = 0;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      // The first two readings are those of the plan, the third comes right before the removal.
      if (verb !== 'readLink' || !paths.endsWith('web/app') || ++reads !== 3) return;
      replacePivot(nodeDisk, roots, ID, { to: first, owner: 'other' });
    });
    expect(cleanRepository(disk, { roots, id: ID, keep: 1, ...later() })).to.deep.equal([]);
    expect(reads).to.equal(3);
    expect(readdirSync(join(roots.published, 'master/app')).sort()).to.deep.equal(names);
  });

  it('a file missing from an existing snapshot is reported, whatever is removed meanwhile', () => {
    const roots = copy(0);
    const [, current] = names as [Timestamp, Timestamp];
    const blobs = join(snapshotPath(roots, ID, current), 'blobs');
    const [lost] = readdirSync(blobs);
    nodeDisk.unlink(join(blobs, lost as string));
    let isDone = false;
    const disk = interfereWith(nodeDisk, ({ paths }) => {
      if (isDone || !paths.includes(`${names[0]}/blobs`)) return;
      isDone = true;
      clean(roots);
    });
    const { findings } = verifyRepository(disk, { roots, id: ID });
    expect(isDone).to.equal(true);
    expect(readlinkSync(join(roots.published, 'web/app'))).to.contain(current);
    const wrong = findings.map(({ problem, path }) => [problem, path]);
    expect(wrong).to.deep.equal([['missing', `master/app/${current}/blobs/${lost}`]]);
  });
});
