import { expect } from 'chai';
import { currencyFacts, judgeSnapshots, type SnapshotFacts } from '#src/repository/retention.js';
import { type Timestamp, toTimestamp } from '#src/repository/timestamp.js';
import type { FlipRecord } from '#src/targets/directory/flip-history.js';

const START = Date.UTC(2026, 10, 23);
const HOUR = 3_600_000;
const name = (hours: number): Timestamp => toTimestamp(START + hours * HOUR);
const facts = (hours: number, endedBy?: number, isCurrent = false): SnapshotFacts => ({
  name: name(hours),
  isCurrent,
  endedBy,
});
const current = (hours: number) => facts(hours, undefined, true);
/** @param ages of the flips of the history, in hours */
const judge = (snapshots: SnapshotFacts[], ages: number[], keep = 1, unfinished = 0) =>
  judgeSnapshots(
    snapshots,
    { keep, graceMs: HOUR },
    { flips: ages.map((age) => age * HOUR), unfinished: () => unfinished * HOUR, nowMs: START },
  );
const rules = (snapshots: SnapshotFacts[], ages: number[], keep?: number) =>
  Object.fromEntries(judge(snapshots, ages, keep).map((each) => [each.name, each.rule]));

describe('judgeSnapshots', () => {
  it('keeps the current snapshot, whatever its age and the policy', () => {
    expect(judge([current(0)], [1_000_000])).to.deep.equal([
      { name: name(0), rule: 'current', remove: false },
    ]);
  });

  it('keeps the configured number of snapshots, including the current one', () => {
    const snapshots = [facts(0, 1), facts(1, 2), facts(2, 3), current(3)];
    expect(rules(snapshots, [100, 99, 98, 97], 3)).to.deep.equal({
      [name(3)]: 'current',
      [name(2)]: 'keep',
      [name(1)]: 'keep',
      [name(0)]: 'stale',
    });
  });

  it('keeps snapshots that were current within the grace period, and returns their expiry', () => {
    const snapshots = [facts(0, 1), current(2)];
    const [, graced] = judge(snapshots, [2, 0.25]);
    expect(graced).to.deep.equal({
      name: name(0),
      rule: 'grace',
      remove: false,
      untilMs: START + 0.75 * HOUR,
    });
    expect(rules(snapshots, [2, 0.999])).to.include({ [name(0)]: 'grace' });
    const [, stale] = judge(snapshots, [2, 1]);
    expect(stale).to.deep.equal({ name: name(0), rule: 'stale', remove: true });
  });

  it('uses the time a snapshot stopped being current, not its name: after a rollback', () => {
    const snapshots = [current(0), facts(1, 2), facts(0.5, 1)];
    expect(rules(snapshots, [9, 8, 0.5])).to.deep.equal({
      [name(0)]: 'current',
      [name(1)]: 'grace',
      [name(0.5)]: 'stale',
    });
    expect(rules(snapshots, [9, 8, 5], 2)).to.include({ [name(1)]: 'keep', [name(0.5)]: 'stale' });
  });

  it('gives a never-current snapshot the grace period, and does not count it', () => {
    const snapshots = [current(0), facts(5), facts(-1, 1)];
    const [, kept, unfinished] = judge(snapshots, [9, 8], 2, 0.5);
    expect(kept).to.deep.include({ name: name(-1), rule: 'keep' });
    expect(unfinished).to.deep.include({ name: name(5), rule: 'unfinished', remove: false });
    expect(judge(snapshots, [9, 8], 2, 1)[2]).to.deep.include({
      rule: 'unfinished',
      remove: true,
    });
  });

  it('gives a snapshot created by compaction only its grace period, and does not count it', () => {
    const renewed = { ...facts(1, 2), isRenewed: true };
    const snapshots = [facts(0, 1), renewed, current(5)];
    expect(rules(snapshots, [9, 8, 0.5], 2)).to.deep.equal({
      [name(5)]: 'current',
      [name(1)]: 'grace',
      [name(0)]: 'keep',
    });
    expect(rules(snapshots, [9, 8, 1], 2)).to.include({ [name(1)]: 'stale', [name(0)]: 'keep' });
  });

  it('treats a flip missing from the history as a flip of this moment', () => {
    expect(rules([facts(0, 2), current(5)], [9, 8])).to.include({ [name(0)]: 'grace' });
  });

  it('orders snapshots that share one history flip by name', () => {
    const snapshots = [facts(0, 1), facts(1, 1), current(5)];
    expect(rules(snapshots, [9, 8], 2)).to.include({ [name(1)]: 'keep', [name(0)]: 'stale' });
  });
});

describe('currencyFacts', () => {
  const flip = (at: number, snapshot: number): FlipRecord => ({
    at: name(at),
    snapshot: name(snapshot),
    why: 'publish',
    drops: [],
  });
  const factsOf = (history: FlipRecord[], pivot: number, names = [0, 1, 2]) =>
    currencyFacts(names.map(name), name(pivot), history, new Map());
  /** The current one's own place is of no account. */
  const places = (all: readonly SnapshotFacts[]) =>
    all.map(({ isCurrent, endedBy }) => (isCurrent ? 'current' : endedBy));

  it('returns that a snapshot was current until the next flip', () => {
    expect(places(factsOf([flip(0, 0), flip(3, 1), flip(7, 2)], 2))).to.deep.equal([
      1,
      2,
      'current',
    ]);
  });

  it('returns the snapshots created by compaction', () => {
    const history = [flip(0, 0), flip(3, 1), { ...flip(7, 2), why: 'clean' as const }];
    expect(factsOf(history, 2)[1]).to.deep.equal({ ...facts(1, 2), isRenewed: true });
  });

  it('uses the last of several times', () => {
    const history = [flip(0, 0), flip(3, 1), flip(5, 0), flip(8, 2)];
    expect(places(factsOf(history, 2))).to.deep.equal([3, 2, 'current']);
  });

  it('detects that the last entry stopped being current when its successor’s line is lost', () => {
    expect(places(factsOf([flip(0, 0), flip(3, 1)], 2))).to.deep.equal([1, 2, 'current']);
    const twice = [flip(0, 0), flip(3, 1), flip(5, 0)];
    expect(places(factsOf(twice, 2)), 'after a repair').to.deep.equal([3, 2, 'current']);
  });

  it('uses the base of later snapshots when the history lacks a snapshot', () => {
    const builtOn = new Map([[name(0), name(4)]]);
    const names = [0, 4].map(name);
    const placesIn = (history: FlipRecord[]) =>
      places(currencyFacts(names, name(5), history, builtOn));
    expect(placesIn([])).to.deep.equal([0, undefined]);
    expect(placesIn([flip(9, 5)])).to.deep.equal([0, undefined]);
    expect(placesIn([flip(9, 3), flip(9, 4), flip(9, 5)])).to.deep.equal([1, 2]);
  });
});
