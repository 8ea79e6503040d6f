/**
 * Goal: a rollback, an untag, a removal and the completion of a removal complete or have no effect,
 * whatever fails and wherever the process dies (I1, I3, I4, I7). Method: fail the k-th disk operation, or
 * that one and all after it, as when the process is killed there; check from outside; start a daemon;
 * repeat the change if it had no effect. Each run tries a different part of all k;
 * DROPDOCK_TEST_POINTS=all tries each.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cleanAll } from '#src/daemon/upkeep.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Edit } from '#src/publisher/target.js';
import { nodeDisk } from '#src/storage/disk.js';
import { findBroken } from '#src/targets/directory/recover.js';
import { deliver, dropPath, SWEEP_YAML } from '../support/deliver.js';
import { editRepository } from '../support/edit-repository.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { makeRandom } from '../support/random.js';
import { passTime, type TestServices, testDaemon, testServices } from '../support/service.js';
import { removeTempDir, tempDir } from '../support/temp-dir.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const ALL = process.env.DROPDOCK_TEST_POINTS === 'all';
const STEP = ALL ? 1 : 7;
const LATER_MS = 2 * 3_600_000;

interface Change {
  readonly prepare?: Edit;
  readonly act: (services: TestServices) => Promise<unknown>;
  /** The tags when it is done; undefined when the repository is gone. */
  readonly after: readonly string[] | undefined;
}

const edit = (services: TestServices, what: Edit) => editRepository(services, 'app', what);

const CHANGES: Record<string, Change> = {
  rollback: {
    act: (services) => edit(services, { kind: 'rollback', to: undefined }),
    after: ['1'],
  },
  untag: { act: (services) => edit(services, { kind: 'untag', tags: ['1'] }), after: ['2'] },
  remove: { act: (services) => edit(services, { kind: 'remove' }), after: [] },
  'the end of a removed repository': {
    prepare: { kind: 'remove' },
    act: async (services) => {
      passTime(services, LATER_MS);
      await cleanAll(services);
    },
    after: undefined,
  },
};

describe('a manual change with disk failures', () => {
  before(() => console.info(`      seed ${SEED}`));

  for (const [name, change] of Object.entries(CHANGES)) {
    for (const how of ['at one operation', 'from one operation on'] as const) {
      it(`${name}, ${how}: completes or has no effect`, async function () {
        this.timeout(ALL ? 900_000 : 120_000);
        const first = 1 + Math.floor(makeRandom(SEED)() * STEP);
        const seen = { old: 0, new: 0 };
        for (let k = first; ; k += STEP) {
          const result = await tryPoint(change, how, k);
          if (result === undefined) break;
          seen[result]++;
        }
        console.info(`      ${seen.old + seen.new} points: ${seen.old} old, ${seen.new} new`);
        expect(seen.old + seen.new).to.be.greaterThan(1);
      });
    }
  }
});

/** @returns what was seen after the failure; undefined past the last operation */
async function tryPoint(
  { prepare, act, after }: Change,
  how: 'at one operation' | 'from one operation on',
  k: number,
): Promise<'old' | 'new' | undefined> {
  const root = tempDir();
  let armed = false;
  let number = 0;
  const disk = interfereWith(nodeDisk, (operation) => {
    if (!armed) return;
    number++;
    if (number === k || (number > k && how === 'from one operation on')) {
      throw systemError('EIO', operation);
    }
  });
  const services = await testServices(root, { disk, yaml: SWEEP_YAML });
  await services.run(prepareInbox, { inbox: services.inbox });
  for (const tag of ['1', '2']) {
    makeLayout(dropPath(root, `app:${tag}`), { layers: ['base', tag] });
    await deliver(services, `app:${tag}`);
  }
  if (prepare) await edit(services, prepare);
  const before = tagsIn(root);
  armed = true;
  await act(services).catch((error) => {
    if (error.code === undefined) throw error;
  });
  armed = false;
  await services.close();
  const seen = oldOrNew(root, before, after, k);
  await recoverAndRepeat(root, act, seen);
  expect(tagsIn(root), `in the end, after ${k}`).to.deep.equal(after);
  removeTempDir(root);
  return number < k ? undefined : seen;
}

function tagsIn(root: string): readonly string[] | undefined {
  const seen = readRepository(join(root, 'published'), 'app');
  return seen && Object.keys(seen.tags).sort();
}

function oldOrNew(
  root: string,
  before: Change['after'],
  after: Change['after'],
  k: number,
): 'old' | 'new' {
  const tags = JSON.stringify(tagsIn(root));
  if (tags === JSON.stringify(after)) return 'new';
  expect(tags, `after ${k}`).to.equal(JSON.stringify(before));
  return 'old';
}

async function recoverAndRepeat(
  root: string,
  act: Change['act'],
  seen: 'old' | 'new',
): Promise<void> {
  const { services, stop } = await testDaemon(root, { disk: nodeDisk, yaml: SWEEP_YAML });
  const { roots, run } = services;
  // The end of a removed repository is begun again by every cleaning.
  const gone = tagsIn(root) === undefined;
  if (seen === 'old' || gone) await act(services);
  expect(await run(findBroken, { roots })).to.deep.equal([]);
  await stop();
  for (const place of ['published/web', 'published/app', 'state/work']) {
    const left = readdirSync(join(root, place)).filter((name) => name.startsWith('.'));
    expect(left, place).to.deep.equal([]);
  }
  if (gone) expect(readdirSync(join(root, 'published/master'))).to.deep.equal([]);
}
