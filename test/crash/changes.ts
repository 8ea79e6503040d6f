/**
 * Every change dropdock makes to a tree, each with its initial tree, the states visible from outside
 * before and after it, and the required final state after any failure: for the sweeps that fail, kill or
 * cut the power at every point.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, renameSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startDaemon } from '#src/daemon/daemon.js';
import type { Services } from '#src/daemon/services.js';
import { cleanAll } from '#src/daemon/upkeep.js';
import { DropdockError } from '#src/errors.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Edit } from '#src/publisher/target.js';
import { nodeDisk } from '#src/storage/disk.js';
import { lockFileSystem } from '#src/storage/lock-files.js';
import { bootId } from '#src/storage/owner.js';
import { emptyTrash } from '#src/storage/trash.js';
import { findBroken, listRepositories } from '#src/targets/directory/recover.js';
import { verifyContent, verifyRepository } from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath, SWEEP_YAML } from '../support/deliver.js';
import { editRepository } from '../support/edit-repository.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository, readSnapshots } from '../support/outside-reader.js';
import { passTime, receipts, testDaemon, testServices } from '../support/service.js';
import { tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

export interface Change {
  /** On top of those of all changes. */
  readonly yaml?: string;
  /** Brings an empty directory to where the change begins; nothing fails here. */
  readonly prepare: (root: string) => Promise<void>;
  readonly act: (services: Services, stage: Stage) => Promise<unknown>;
  /** It works on a drop, which must not be lost whatever happens. */
  readonly hasDrop?: boolean;
  /** It begins only when something else is done. */
  readonly beginsLate?: boolean;
}

/** What the one who disturbs a change is told by it. */
export interface Stage {
  /** The change begins now; before that nothing may fail. */
  readonly begin: () => void;
  /** Around what the test itself looks at: this is not to be disturbed. */
  readonly unseen: <T>(look: () => T) => T;
}

const CALM: Stage = { begin: () => {}, unseen: (look) => look() };

/**
 * A claim that was cut off between its rename and what follows is taken up again after two times the
 * lock's staleness; so long is waited for a lock whose holder died before it left its note.
 */
const CHANGE_YAML = `${SWEEP_YAML}lock: {stale: 2s, wait: 20s}\n`;

/** Under which settings it is done. */
export function yamlOf({ yaml = '' }: Change): string {
  return CHANGE_YAML + yaml;
}

export const CHANGED = 'app';
const LATER_MS = 2 * 3_600_000;
/** Where the drop for the running daemon waits; on the inbox's filesystem, and no drop yet. */
const ASIDE = '.aside';

const edit = (services: Services, what: Edit) => editRepository(services, CHANGED, what);

const clean = (services: Services) => {
  passTime(services, LATER_MS);
  return cleanAll(services);
};

const layers = (...names: string[]) => names.map((layer) => ({ tag: '1', layer }));
const twoTags = (root: string) => publishAll(root, [{ tag: '1' }, { tag: '2' }]);

export const CHANGES = {
  publish: {
    prepare: async (root) => {
      await publishAll(root, [{ tag: '1' }]);
      makeDrop(root, { tag: '1', layer: 'new' });
    },
    act: async (services) => {
      if (await deliver(services, `${CHANGED}:1`)) return;
      // What cannot be read is left alone, and looked at again.
      throw new DropdockError('content.vanished', 'The drop was not taken.');
    },
    hasDrop: true,
  },
  'a running daemon': {
    prepare: async (root) => {
      await publishAll(root, [{ tag: '1' }]);
      makeLayout(join(root, 'inbox', ASIDE), { layers: ['base', 'new'] });
    },
    act: async (services, stage) => {
      const daemon = await startDaemon(services);
      const drop = join(services.inbox, `${CHANGED}:1`);
      renameSync(join(services.inbox, ASIDE), drop);
      stage.begin();
      try {
        await Promise.race([daemon.failed, receiptIsThere(join(services.inbox, '..'), stage)]);
      } finally {
        await daemon.stop();
      }
    },
    hasDrop: true,
    beginsLate: true,
  },
  rollback: {
    prepare: twoTags,
    act: (services) => edit(services, { kind: 'rollback', to: undefined }),
  },
  untag: { prepare: twoTags, act: (services) => edit(services, { kind: 'untag', tags: ['1'] }) },
  remove: { prepare: twoTags, act: (services) => edit(services, { kind: 'remove' }) },
  'the end of a removal': {
    prepare: async (root) => {
      await twoTags(root);
      await withServices(root, (services) => edit(services, { kind: 'remove' }));
    },
    act: clean,
  },
  cleaning: {
    yaml: 'retention: {keep: 1}\n',
    // Nothing is carried, so it makes no new snapshot.
    prepare: (root) => publishAll(root, layers('a', 'b', 'c'), 'retention: {keep: 5, grace: 0s}\n'),
    act: clean,
  },
  'a cleaning of what is carried': {
    prepare: (root) => publishAll(root, layers('a', 'b')),
    act: clean,
  },
  'recovery before the flip': recovery(/^rename .*\/published\/web\/[^/.]+$/),
  'recovery after the flip': recovery(/^rename .*\/published\/app\/[^/.]+\.json$/),
  'recovery with a receipt': recovery(/^rename .*\/\.done-/),
} satisfies Record<string, Change> as Readonly<Record<string, Change>>;

/** A publish was killed before the operation that matches; the next daemon starts. */
function recovery(killedBefore: RegExp): Change {
  return {
    prepare: async (root) => {
      await publishAll(root, [{ tag: '1' }]);
      makeDrop(root, { tag: '1', layer: 'new' });
      await dieAt(root, `${CHANGED}:1`, killedBefore);
    },
    act: async (services, stage) => {
      const daemon = await startDaemon(services);
      try {
        await Promise.race([daemon.failed, receiptIsThere(join(services.inbox, '..'), stage)]);
      } finally {
        await daemon.stop();
      }
    },
    hasDrop: true,
  };
}

const DIE_AT = fileURLToPath(new URL('./die-at.js', import.meta.url));

async function dieAt(root: string, drop: string, { source }: RegExp): Promise<void> {
  const child = spawn(process.execPath, [DIE_AT, root, drop, source], { stdio: 'inherit' });
  await once(child, 'exit');
  if (child.signalCode !== 'SIGKILL') throw new Error(`nothing is a ${source}`);
}

/** What is seen from outside; every snapshot there is must be whole. @throws on anything else */
export function lookFromOutside(root: string): { readonly state: string; readonly count: number } {
  const seen = readRepository(join(root, 'published'), CHANGED);
  const count = readSnapshots(join(root, 'published'), CHANGED).length;
  // With how much is served: what is carried is of no tag.
  return { state: seen ? JSON.stringify([seen.tags, seen.digests.size]) : 'gone', count };
}

export interface Expected {
  readonly before: ReturnType<typeof lookFromOutside>;
  readonly after: ReturnType<typeof lookFromOutside>;
}

/** A copy in which a lock that a dead process left is known as such, as it is in the original. */
export function copyTree(from: string): string {
  const root = tempDir();
  execFileSync('cp', ['-a', `${from}/.`, root]);
  const place = join(root, 'state', 'locks');
  for (const name of readdirSync(place).filter((each) => each.endsWith('.held'))) {
    rmdirSync(join(place, name));
    const holder = join(place, name.replace(/held$/, 'holder'));
    lockFileSystem
      .with(holder, { boot: bootId(), owner: 'p1x1' })
      .mkdir(join(place, name), () => {});
  }
  return root;
}

/** Does it once where nothing fails, in a tree that is prepared. */
export async function expectedOf(change: Change, root: string): Promise<Expected> {
  const before = lookFromOutside(root);
  await withServices(root, (services) => change.act(services, CALM), yamlOf(change));
  const after = lookFromOutside(root);
  const isSame = JSON.stringify(before) === JSON.stringify(after);
  // A recovery after the flip only has to let go of the drop.
  if (isSame && !change.hasDrop) throw new Error('it changed nothing');
  return { before, after };
}

/** @throws when it is neither the old state nor the new one */
export function judge(root: string, { before, after }: Expected): 'old' | 'new' {
  const { state, count } = lookFromOutside(root);
  if (before.state === after.state) return count === after.count ? 'new' : 'old';
  if (state === after.state) return 'new';
  if (state !== before.state) throw new Error(`neither old nor new: ${state}`);
  return 'old';
}

/** The next start, and the change again where it is still to be done. @throws what is not as promised */
export async function settle(root: string, change: Change, expected: Expected): Promise<void> {
  const aside = join(root, 'inbox', ASIDE);
  if (readdirSync(join(root, 'inbox')).includes(ASIDE)) {
    renameSync(aside, dropPath(root, `${CHANGED}:1`));
  }
  const { services, stop } = await testDaemon(root, { disk: nodeDisk, yaml: yamlOf(change) });
  try {
    if (change.hasDrop) await dropIsDone(root);
    // Of a cleaning that is done in part the rest is done by the next.
    else if (judge(root, expected) === 'old' || change.act === clean) {
      await change.act(services, CALM);
    }
    const { roots, run } = services;
    await run(emptyTrash, { roots });
    if ((await run(findBroken, { roots })).length > 0) throw new Error('a link is broken');
    const findings = [...(await run(verifyContent, { roots })).findings];
    for (const id of await run(listRepositories, { roots })) {
      findings.push(...(await run(verifyRepository, { roots, id })).findings);
    }
    if (findings.length > 0) throw new Error(`verify finds ${JSON.stringify(findings)}`);
  } catch (error) {
    throw new Error(`${(error as Error).message} ${JSON.stringify(services.lines)}`);
  } finally {
    await stop();
  }
  if (judge(root, expected) !== 'new') throw new Error('it is not done in the end');
  checkNothingIsLeft(root, expected.after.state === 'gone');
}

function checkNothingIsLeft(root: string, isGone: boolean): void {
  let left = ['published/web', 'published/app', 'state/work', 'state/trash', 'inbox/.claimed']
    .flatMap((place) => readdirSync(join(root, place)).map((name) => `${place}/${name}`))
    .filter((path) => path.includes('/.') || !path.startsWith('published'));
  if (isGone) left.push(...readdirSync(join(root, 'published/master')));
  // That goes at a start a minute later.
  left = left.filter((path) => !path.includes('.probe-'));
  // A process killed before it had registered leaves an unnamed file, which is never read.
  const owners = readdirSync(join(root, 'state/locks/.owners'));
  left.push(...owners.filter((name) => !name.startsWith('.')));
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
}

/** One is of the publish before. */
const hasReceipt = (root: string) => receipts(root).length === 2;

function receiptIsThere(root: string, { unseen }: Stage): Promise<boolean> {
  // Its disk may be copied at each of its operations.
  return waitFor('the receipt', () => unseen(() => hasReceipt(root)), 120_000);
}

async function dropIsDone(root: string): Promise<void> {
  const isEmpty = (path: string) => readdirSync(join(root, path)).length === 0;
  await waitFor(
    'the drop to be published and gone',
    () => hasReceipt(root) && ['inbox/.claimed', 'state/trash', 'state/work'].every(isEmpty),
  );
}

async function publishAll(
  root: string,
  drops: readonly { tag: string; layer?: string }[],
  yaml = '',
): Promise<void> {
  const publish = async (services: Services) => {
    await services.run(prepareInbox, { inbox: services.inbox });
    for (const drop of drops) {
      makeDrop(root, drop);
      await deliver(services, `${CHANGED}:${drop.tag}`);
    }
  };
  await withServices(root, publish, CHANGE_YAML + yaml);
}

function makeDrop(root: string, { tag, layer = tag }: { tag: string; layer?: string }): void {
  makeLayout(dropPath(root, `${CHANGED}:${tag}`), { layers: ['base', layer] });
}

async function withServices(
  root: string,
  use: (services: Services) => Promise<unknown>,
  yaml = CHANGE_YAML,
): Promise<void> {
  const services = await testServices(root, { disk: nodeDisk, yaml });
  try {
    await use(services);
  } finally {
    await services.close();
  }
}
