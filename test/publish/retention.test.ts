import { expect } from 'chai';
import type { FlipRecord } from '#src/publish/history.js';
import { currencyFacts, judgeSnapshots, type SnapshotFacts } from '#src/publish/retention.js';
import { type Timestamp, toTimestamp } from '#src/snapshot/timestamp.js';

const START = Date.UTC(2026, 10, 23);
const HOUR = 3_600_000;
const name = (hours: number): Timestamp => toTimestamp(START + hours * HOUR);
const facts = (hours: number, lastCurrent?: number, isCurrent = false): SnapshotFacts => ({
  name: name(hours),
  isCurrent,
  lastCurrentMs: lastCurrent === undefined ? undefined : START + lastCurrent * HOUR,
});
const current = (hours: number) => facts(hours, undefined, true);
const judge = (snapshots: SnapshotFacts[], now: number, keep = 1) =>
  judgeSnapshots(snapshots, { keep, graceMs: HOUR, nowMs: START + now * HOUR });
const rules = (snapshots: SnapshotFacts[], now: number, keep?: number) =>
  Object.fromEntries(judge(snapshots, now, keep).map((each) => [each.name, each.rule]));

describe('judgeSnapshots', () => {
  it('keeps the current snapshot, however old and with whatever policy', () => {
    expect(judge([current(0)], 1_000_000)).to.deep.equal([
      { name: name(0), rule: 'current', remove: false },
    ]);
  });

  it('keeps as many as the settings say, the current one among them', () => {
    const snapshots = [facts(0, 1), facts(1, 2), facts(2, 3), current(3)];
    expect(rules(snapshots, 100, 3)).to.deep.equal({
      [name(3)]: 'current',
      [name(2)]: 'keep',
      [name(1)]: 'keep',
      [name(0)]: 'stale',
    });
  });

  it('keeps whatever was current within the grace period, and says until when', () => {
    const snapshots = [facts(0, 2), current(2)];
    const [, graced] = judge(snapshots, 2.5);
    expect(graced).to.deep.equal({
      name: name(0),
      rule: 'grace',
      remove: false,
      untilMs: START + 3 * HOUR,
    });
    expect(rules(snapshots, 2.999)).to.include({ [name(0)]: 'grace' });
    expect(judge(snapshots, 3)[1]).to.deep.equal({ name: name(0), rule: 'stale', remove: true });
  });

  it('goes by when a snapshot was current, not by its name: after a rollback', () => {
    // 1 was rolled back to 0 half an hour ago.
    const snapshots = [current(0), facts(1, 9.5), facts(0.5, 1)];
    expect(rules(snapshots, 10)).to.deep.equal({
      [name(0)]: 'current',
      [name(1)]: 'grace',
      [name(0.5)]: 'stale',
    });
    expect(rules(snapshots, 20, 2)).to.include({ [name(1)]: 'keep', [name(0.5)]: 'stale' });
  });

  it('gives one that never was current the grace period from its name, and counts it for nothing', () => {
    const snapshots = [current(0), facts(5), facts(-1, 0)];
    const [, kept, unfinished] = judge(snapshots, 5.5, 2);
    expect(kept).to.deep.include({ name: name(-1), rule: 'keep' });
    expect(unfinished).to.deep.include({ name: name(5), rule: 'unfinished', remove: false });
    expect(judge(snapshots, 6, 2)[2]).to.deep.include({ rule: 'unfinished', remove: true });
  });

  it('counts a snapshot that a cleaning made anew for nothing but its grace period', () => {
    const renewed = { ...facts(1, 5), isRenewed: true };
    const snapshots = [facts(0, 1), renewed, current(5)];
    expect(rules(snapshots, 5.5, 2)).to.deep.equal({
      [name(5)]: 'current',
      [name(1)]: 'grace',
      [name(0)]: 'keep',
    });
    expect(rules(snapshots, 6, 2)).to.include({ [name(1)]: 'stale', [name(0)]: 'keep' });
  });

  it('removes nothing early when the clock has stepped back', () => {
    const removed = judge([facts(0, 5), current(5)], -100).filter(({ remove }) => remove);
    expect(removed).to.deep.equal([]);
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

  it('says that a snapshot was current until the next flip', () => {
    expect(factsOf([flip(0, 0), flip(3, 1), flip(7, 2)], 2)).to.deep.equal([
      facts(0, 3),
      facts(1, 7),
      current(2),
    ]);
  });

  it('says which one a cleaning has made anew', () => {
    const history = [flip(0, 0), flip(3, 1), { ...flip(7, 2), why: 'clean' as const }];
    expect(factsOf(history, 2)[1]).to.deep.equal({ ...facts(1, 7), isRenewed: true });
  });

  it('takes the last time of several', () => {
    const history = [flip(0, 0), flip(3, 1), flip(5, 0), flip(8, 2)];
    expect(factsOf(history, 2)).to.deep.equal([facts(0, 8), facts(1, 5), current(2)]);
  });

  it('goes by the pivot when the history’s last line is lost', () => {
    expect(factsOf([flip(0, 0), flip(3, 1)], 2)).to.deep.equal([facts(0, 3), facts(1), current(2)]);
  });

  it('goes by what was built on a snapshot when the history does not know it', () => {
    const builtOn = new Map([[name(0), name(4)]]);
    const names = [0, 4].map(name);
    expect(currencyFacts(names, name(4), [], builtOn)).to.deep.equal([facts(0, 4), current(4)]);
  });
});
