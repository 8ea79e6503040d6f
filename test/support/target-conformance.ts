/** The requirements for every kind of target (src/publisher/target.ts), as tests. */
import { expect } from 'chai';
import type { PublishResult, RepositoryPolicy, StagedDrop, Target } from '#src/publisher/target.js';
import { parseSnapshot } from '#src/repository/snapshot-file.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { makeRandom } from './random.js';
import { APP } from './store-publisher.js';

export interface TargetUnderTest {
  readonly target: Target;
  /** Another publisher of the same target, as a second process would be. */
  readonly other: Target;
  /** An image of one layer, stored as when its drop was staged. */
  stage(tag: string, layer?: string, name?: string): Promise<StagedDrop>;
  /** So much time passes, on all clocks. */
  pass(ms: number): void;
}

const GRACE_MS = 3_600_000;
export const POLICY: RepositoryPolicy = {
  ...APP,
  redirectOci: 'passthrough',
  graceMs: GRACE_MS,
  keep: 100,
};

/** @param open an empty target */
export function itIsATarget(open: () => Promise<TargetUnderTest>): void {
  let it_: TargetUnderTest;
  beforeEach(async () => {
    it_ = await open();
  });

  const publish = (policy: RepositoryPolicy, ...drops: StagedDrop[]) =>
    it_.target.publish(policy, { kind: 'publish', drops });
  const stage = (tag: string, layer?: string) => it_.stage(tag, layer);
  const tags = async () => [...((await it_.target.current(POLICY.id))?.tags.keys() ?? [])].sort();
  const statuses = ({ outcomes }: PublishResult) => outcomes.map(({ status }) => status);
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      ({ code }: { code?: string }) => code,
    );

  it('is empty at first', async () => {
    expect(await it_.target.current(POLICY.id)).to.equal(undefined);
    expect(await it_.target.repositories()).to.deep.equal([]);
    expect(await it_.target.history(POLICY.id)).to.deep.equal([]);
  });

  it('returns published content, and finds it by its id', async () => {
    const drop = await stage('1');
    const result = await publish(POLICY, drop);
    expect(statuses(result)).to.deep.equal(['published']);
    const current = await it_.target.current(POLICY.id);
    expect(current).to.include({ repository: 'team/app', base: null, removed: false });
    expect(current?.snapshot).to.equal(result.snapshot);
    const digest = drop.content.roots[0]?.digest;
    expect([...(current?.tags ?? [])]).to.deep.equal([['1', digest]]);
    expect(result.moves).to.deep.equal([{ tag: '1', from: null, to: digest }]);
    expect(await it_.target.repositories()).to.deep.equal([POLICY.id]);
  });

  it('publishes a batch as one snapshot, in order', async () => {
    const result = await publish(POLICY, await stage('1', 'one'), await stage('1', 'two'));
    expect(
      new Set(result.outcomes.map((each) => 'snapshot' in each && each.snapshot)).size,
    ).to.equal(1);
    const last = await stage('2', 'two');
    await publish(POLICY, last);
    const found = (await it_.target.current(POLICY.id))?.tags;
    expect(found?.get('1' as never)).not.to.equal(undefined);
    expect(await tags()).to.deep.equal(['1', '2']);
    expect(await it_.target.history(POLICY.id)).to.have.length(2);
  });

  it('changes nothing for a drop that is already published (I6)', async () => {
    await publish(POLICY, await stage('1', 'same'));
    const before = await it_.target.current(POLICY.id);
    const again = await publish(POLICY, await stage('1', 'same'));
    expect(statuses(again)).to.deep.equal(['unchanged']);
    expect(again).to.include({ snapshot: null, base: before?.snapshot });
    expect(await it_.target.current(POLICY.id)).to.deep.equal(before);
  });

  it('recognises a drop that was already flipped, whatever was published since', async () => {
    const drop = await stage('1');
    const first = await publish(POLICY, drop);
    await it_.target.publish(POLICY, { kind: 'untag', tags: ['1'] });
    const again = await publish(POLICY, drop, await stage('2'));
    expect(again.outcomes[0]).to.include({ status: 'published', snapshot: first.snapshot });
    expect(again.outcomes[1]?.status).to.equal('published');
    expect(await tags()).to.deep.equal(['2']);
  });

  it('rejects drops that the settings forbid, and publishes the others', async () => {
    await publish(POLICY, await stage('v1', 'old'));
    const policy = { ...POLICY, immutableTags: ['v*'] };
    const moved = await stage('v1', 'new');
    expect(await codeOf(it_.target.check(policy, moved))).to.equal('tag.immutable');
    expect(await codeOf(it_.target.check(policy, await stage('2')))).to.equal('done');
    const result = await publish(policy, moved, await stage('2'));
    expect(statuses(result)).to.deep.equal(['rejected', 'published']);
    const [refused] = result.outcomes;
    expect(refused && 'error' in refused && refused.error).to.include({ code: 'tag.immutable' });
    expect(await tags()).to.deep.equal(['2', 'v1']);
  });

  it('creates no snapshot when every drop is rejected', async () => {
    const first = await publish(POLICY, await stage('v1', 'old'));
    const policy = { ...POLICY, immutableTags: ['*'] };
    const result = await publish(policy, await stage('v1', 'new'));
    expect(statuses(result)).to.deep.equal(['rejected']);
    expect(result.snapshot).to.equal(null);
    expect((await it_.target.current(POLICY.id))?.snapshot).to.equal(first.snapshot);
  });

  it('replaces content according to the policy of the publish', async () => {
    await publish(POLICY, await stage('1'), await stage('2'));
    await publish({ ...POLICY, mode: 'replace' }, await stage('3'));
    expect(await tags()).to.deep.equal(['3']);
  });

  it('untags, rolls back and forward, removes, and restores', async () => {
    const { target } = it_;
    const first = await publish(POLICY, await stage('1'));
    await publish(POLICY, await stage('2'));
    const untagged = await target.publish(POLICY, { kind: 'untag', tags: ['1'] });
    expect(untagged.moves.map(({ tag, to }) => [tag, to])).to.deep.equal([['1', null]]);
    expect(await tags()).to.deep.equal(['2']);
    const back = await target.publish(POLICY, { kind: 'rollback', to: undefined });
    expect(back.to).to.be.a('string');
    expect(await tags()).to.deep.equal(['1', '2']);
    await target.publish(POLICY, { kind: 'rollback', to: undefined });
    expect(await tags(), 'twice leads forth again').to.deep.equal(['2']);
    const to = first.snapshot ?? undefined;
    expect((await target.publish(POLICY, { kind: 'rollback', to })).to).to.equal(to);
    expect(await tags()).to.deep.equal(['1']);
    await target.publish(POLICY, { kind: 'remove' });
    expect(await target.current(POLICY.id)).to.include({ removed: true });
    expect(await tags()).to.deep.equal([]);
    await target.publish(POLICY, { kind: 'rollback', to: undefined });
    expect(await tags()).to.deep.equal(['1']);
    expect(await target.current(POLICY.id)).to.include({ removed: false });
  });

  it('returns its history, newest first', async () => {
    await publish(POLICY, await stage('1'));
    await it_.target.publish(POLICY, { kind: 'untag', tags: ['1'] });
    const history = await it_.target.history(POLICY.id);
    expect(history.map(({ why, detail }) => [why, detail])).to.deep.equal([
      ['untag', '1'],
      ['publish', undefined],
    ]);
    expect(history.map(({ current, kept }) => [current, kept])).to.deep.equal([
      [true, true],
      [false, true],
    ]);
    expect(history[1]?.drops.map(({ drop }) => drop)).to.deep.equal(['app:1']);
  });

  it('records who made each change and the tags it changed, and not in the snapshot', async () => {
    const { target } = it_;
    const from = (by: string | undefined, drop: StagedDrop) => ({ ...drop, by });
    await publish(POLICY, from('ann', await stage('1')), from('bob', await stage('2')));
    const refused = from('eve', await it_.stage('1', 'other', 'app:1x'));
    const again = await it_.stage('2', 'other', 'app:2x');
    await publish({ ...POLICY, immutableTags: ['1'] }, refused, from('bob', again));
    await publish(
      POLICY,
      ...(await Promise.all(['3', '4', '5', '6', '7', '8', '9'].map((tag) => stage(tag)))),
    );
    await target.publish(POLICY, { kind: 'untag', tags: ['1'], by: 'carol' });
    const history = await target.history(POLICY.id);
    expect(history.map(({ by, tags: changed }) => [by, changed])).to.deep.equal([
      [['carol'], { removed: { names: ['1'], count: 1 } }],
      [undefined, { added: { names: ['3', '4', '5', '6', '7'], count: 7 } }],
      [['bob'], { moved: { names: ['2'], count: 1 } }],
      [['ann', 'bob'], { added: { names: ['1', '2'], count: 2 } }],
    ]);
    const { text = [] } = (await target.currentText(POLICY.id)) ?? {};
    expect(Buffer.from(text).toString()).not.to.match(/carol|ann|"by"/);
  });

  it('starts on an empty and on a filled tree', async () => {
    expect(await it_.target.start()).to.deep.include({ recovered: [], notDone: [] });
    await publish(POLICY, await stage('1'));
    const started = await it_.target.start();
    expect(started).to.deep.include({ recovered: [], notDone: [] });
    expect(started).not.to.have.property('away');
  });

  it('returns an overview of all repositories and of one', async () => {
    expect((await it_.target.overview()).repositories).to.deep.equal([]);
    const { snapshot } = await publish(POLICY, await stage('1.10'), await stage('1.9'));
    for (const asked of [undefined, POLICY.id]) {
      const { repositories, columns } = await it_.target.overview(asked);
      expect(columns).to.include.members(['repository', 'snapshot', 'tags']);
      const [only, ...others] = repositories;
      expect(others).to.deep.equal([]);
      expect(only).to.include({ repository: 'team/app', id: POLICY.id, snapshot });
      // A list is in the order of versions.
      const tags = only?.tags ?? [];
      if (typeof tags === 'number') expect(tags).to.equal(2);
      else expect(tags.map(({ tag }) => tag)).to.deep.equal(['1.9', '1.10']);
    }
    const unknown = 'nothing' as typeof POLICY.id;
    expect((await it_.target.overview(unknown)).repositories).to.deep.equal([]);
  });

  it('verifies all repositories and one, and reports a missing one', async () => {
    await publish(POLICY, await stage('1'));
    expect((await it_.target.verify())?.findings).to.deep.equal([]);
    expect((await it_.target.verify(POLICY.id))?.findings).to.deep.equal([]);
    expect(await it_.target.verify('nothing' as typeof POLICY.id)).to.equal(undefined);
  });

  it('keeps current content when cleaned, as its plan says', async () => {
    const { snapshot } = await publish(POLICY, await stage('1'));
    const { target } = it_;
    for (const clean of [
      () => target.clean({ dryRun: true }),
      () => target.clean({ dryRun: false }),
      () => target.cleanIfDue(),
    ]) {
      const { repositories = [], notDone } = (await clean()) ?? {};
      expect(notDone).to.deep.equal([]);
      expect(repositories.map(({ id }) => id)).to.deep.equal([POLICY.id]);
      expect(repositories[0]?.snapshots).to.deep.equal([
        { name: snapshot, rule: 'current', remove: false },
      ]);
      expect((await target.verify())?.findings).to.deep.equal([]);
      expect(await tags()).to.deep.equal(['1']);
    }
  });

  it('serves as the source and the destination of a copy', async () => {
    const { target } = it_;
    expect(await target.currentText(POLICY.id)).to.equal(undefined);
    const drop = await stage('1');
    const { snapshot } = await publish(POLICY, drop);
    const found = await target.currentText(POLICY.id);
    expect(found?.snapshot).to.equal(snapshot);
    const { state } = parseSnapshot(Buffer.from(found?.text ?? []), 'the current snapshot');
    expect([...state.tags.keys()]).to.deep.equal(['1']);
    const { manifests, blobs } = drop.content;
    const needs = [
      ...manifests.map(({ digest, size, manifest }) => ({
        digest,
        size,
        mediaType: manifest.mediaType,
      })),
      ...blobs.map(({ digest, size }) => ({ digest, size, mediaType: undefined })),
    ];
    const lacking = await target.lacking(needs);
    for (const each of needs) if (each.mediaType) expect(lacking).to.include(each);
    let bytes = 0;
    const onBytes = (count: number) => {
      bytes += count;
    };
    await target.fetch(needs, { transaction: 'p1x1-1-1', onBytes });
    expect(bytes, 'all of it is here').to.equal(needs.reduce((sum, { size }) => sum + size, 0));
    await target.send(needs);
    expect((await target.verify())?.findings).to.deep.equal([]);
  });

  it('rejects impossible edits, and changes nothing', async () => {
    const { target } = it_;
    const edits = {
      untag: { kind: 'untag', tags: ['1'] },
      remove: { kind: 'remove' },
      rollback: { kind: 'rollback', to: undefined },
    } as const;
    for (const edit of Object.values(edits)) {
      expect(await codeOf(target.publish(POLICY, edit)), edit.kind).to.equal('repository.unknown');
    }
    const { snapshot } = await publish(POLICY, await stage('1'));
    const codes = {
      'tag.unknown': { kind: 'untag', tags: ['9'] },
      'snapshot.unknown': { kind: 'rollback', to: toTimestamp(1000) },
    } as const;
    for (const [code, edit] of Object.entries(codes)) {
      expect(await codeOf(target.publish(POLICY, edit))).to.equal(code);
    }
    expect(await codeOf(target.publish(POLICY, edits.rollback))).to.equal('snapshot.unknown');
    expect((await target.current(POLICY.id))?.snapshot).to.equal(snapshot);
  });

  it('expires content kept for grace after the grace period, and not before', async () => {
    const { target } = it_;
    await publish(POLICY, await stage('1'));
    await publish({ ...POLICY, mode: 'replace' }, await stage('2'));
    const expire = () => target.publish(POLICY, { kind: 'expire' });
    expect((await expire()).snapshot, 'too early').to.equal(null);
    it_.pass(GRACE_MS + 1000);
    const { snapshot, moves } = await expire();
    expect(snapshot).to.be.a('string');
    expect(moves).to.deep.equal([]);
    expect((await expire()).snapshot, 'again').to.equal(null);
    expect(await tags()).to.deep.equal(['2']);
  });

  it('does not adopt content of another repository with this id (I8)', async () => {
    await publish(POLICY, await stage('1'));
    const other = { ...POLICY, repository: 'team/other' as RepositoryPolicy['repository'] };
    expect(await codeOf(publish(other, await stage('2')))).to.equal('layout.unsafe');
    expect(await codeOf(it_.target.check(other, await stage('2')))).to.equal('layout.unsafe');
    expect(await tags()).to.deep.equal(['1']);
  });

  it('loses no tag with two concurrent publishers (I7)', async () => {
    for (let round = 0; round < 5; round++) {
      const drops = [await stage(`a${round}`), await stage(`b${round}`)] as const;
      await Promise.all([
        it_.target.publish(POLICY, { kind: 'publish', drops: [drops[0]] }),
        it_.other.publish(POLICY, { kind: 'publish', drops: [drops[1]] }),
      ]);
    }
    expect(await tags()).to.have.length(10);
    const names = (await it_.target.history(POLICY.id)).map(({ snapshot }) => snapshot).reverse();
    expect(names).to.deep.equal([...names].sort());
    expect(new Set(names).size).to.equal(names.length);
  });
}

/** What a change did, as far as every target must agree. */
type Said = readonly [string, ...unknown[]];

/**
 * The same random changes on several targets: they must answer the same and show the same.
 * @param open empty targets, the first one being the measure
 */
export function agreeOnHistories(
  open: () => Promise<readonly TargetUnderTest[]>,
  { seeds, steps }: { readonly seeds: readonly number[]; readonly steps: number },
): void {
  for (const seed of seeds) {
    it(`behave alike through ${steps} random changes (seed ${seed})`, async () => {
      const all = await open();
      const random = makeRandom(seed);
      const pick = (count: number) => Math.floor(random() * count);
      const done: string[] = [];
      for (let step = 0; step < steps; step++) {
        const change = randomChange(pick, step, done.at(-1)?.includes('"remove"') === true);
        done.push(JSON.stringify(change));
        const said = await Promise.all(all.map((each) => apply(each, change)));
        for (const each of said) expect(each, done.slice(-5).join('\n')).to.deep.equal(said[0]);
      }
    });
  }
}

interface RandomChange {
  readonly kind: 'publish' | 'replace' | 'untag' | 'remove' | 'rollback' | 'expire' | 'again';
  readonly images: readonly { readonly tag: string; readonly layer: string }[];
  readonly tag: string;
  readonly passMs: number;
  readonly step: number;
}

const KINDS = ['publish', 'publish', 'publish', 'replace', 'untag', 'untag', 'remove', 'rollback'];

/** @param isRemoved a directory forgets a removed repository after its grace period, a store when it is cleaned */
function randomChange(
  pick: (count: number) => number,
  step: number,
  isRemoved: boolean,
): RandomChange {
  const any = [...KINDS, 'rollback', 'expire', 'again'][pick(11)] as RandomChange['kind'];
  const kind = isRemoved ? 'publish' : any;
  const images = Array.from({ length: 1 + pick(3) }, () => ({
    tag: `t${pick(4)}`,
    layer: `layer ${pick(5)}`,
  }));
  return { kind, images, tag: `t${pick(4)}`, passMs: isRemoved ? 0 : pick(3) * GRACE_MS, step };
}

const lastDrops = new WeakMap<TargetUnderTest, StagedDrop[]>();

async function apply(of: TargetUnderTest, change: RandomChange): Promise<Said> {
  const { target } = of;
  of.pass(change.passMs + 1000);
  let result: PublishResult;
  try {
    result = await target.publish(...(await changeFor(of, change)));
  } catch (error) {
    return ['refused', (error as { code?: string }).code];
  }
  const current = await target.current(POLICY.id);
  return [
    'done',
    result.snapshot !== null,
    result.moves,
    result.outcomes.map((outcome) => [
      outcome.status,
      'error' in outcome ? (outcome.error as { code?: string }).code : undefined,
    ]),
    [...(current?.tags ?? [])].sort(),
    current?.removed,
  ];
}

async function changeFor(
  of: TargetUnderTest,
  { kind, images, tag, step }: RandomChange,
): Promise<Parameters<Target['publish']>> {
  if (kind === 'untag') return [POLICY, { kind, tags: [tag] }];
  if (kind === 'rollback') return [POLICY, { kind, to: undefined }];
  if (kind === 'remove' || kind === 'expire') return [POLICY, { kind }];
  if (kind === 'again') return [POLICY, { kind: 'publish', drops: lastDrops.get(of) ?? [] }];
  const drops: StagedDrop[] = [];
  for (const [at, image] of images.entries()) {
    drops.push(await of.stage(image.tag, image.layer, `app:${step}-${at}`));
  }
  lastDrops.set(of, drops);
  const policy = { ...POLICY, immutableTags: ['t3'], mode: kind === 'replace' ? kind : 'merge' };
  return [policy as RepositoryPolicy, { kind: 'publish', drops }];
}
