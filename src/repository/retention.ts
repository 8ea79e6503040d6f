/**
 * Decides which snapshots are kept and why. Pure. The decision uses what was current and how long ago, see
 * grace.ts.
 */

import type { SeenFlip } from './grace.js';
import type { Timestamp } from './timestamp.js';

export interface RetentionPolicy {
  /** The number of snapshots that are kept regardless of age, including the current one. */
  readonly keep: number;
  /** Snapshots that were current within this time (ms) are kept. */
  readonly graceMs: number;
}

/** Known minimum ages, see grace.ts. */
export interface KnownAges {
  /** The minimum age (ms) of each flip of the history. */
  readonly flips: readonly number[];
  /** Returns the minimum time (ms) since a snapshot that never was current was first seen. */
  readonly unfinished: (name: Timestamp) => number;
  /** Wall clock; only used to report until when a snapshot is kept. */
  readonly nowMs: number;
}

export interface SnapshotFacts {
  readonly name: Timestamp;
  readonly isCurrent: boolean;
  /**
   * The index in the history of the flip that replaced the snapshot; beyond the end if the history lacks that
   * flip. Undefined if the snapshot never was current.
   */
  readonly endedBy: number | undefined;
  /** A compaction replaced it with a snapshot that serves the same, so no rollback needs it. */
  readonly isRenewed?: boolean;
}

export interface SnapshotVerdict {
  readonly name: Timestamp;
  readonly rule: 'current' | 'keep' | 'grace' | 'stale' | 'unfinished';
  readonly remove: boolean;
  /** The end of the grace period (ms). */
  readonly untilMs?: number;
}

/**
 * Judges the snapshots, newest first. A snapshot that never was current does not count for `keep`; only the
 * grace period protects it.
 */
export function judgeSnapshots(
  snapshots: readonly SnapshotFacts[],
  { keep, graceMs }: RetentionPolicy,
  { flips, unfinished, nowMs }: KnownAges,
): SnapshotVerdict[] {
  let kept = 0;
  return [...snapshots].sort(byCurrency).map((facts): SnapshotVerdict => {
    const { name } = facts;
    if (facts.isCurrent) {
      kept++;
      return { name, rule: 'current', remove: false };
    }
    if (facts.endedBy === undefined) {
      // It may belong to a publish on another host just before its flip, so it gets time to finish.
      const ageMs = unfinished(name);
      const untilMs = nowMs + graceMs - ageMs;
      return { name, rule: 'unfinished', remove: ageMs >= graceMs, untilMs };
    }
    if (kept < keep && !facts.isRenewed) {
      kept++;
      return { name, rule: 'keep', remove: false };
    }
    const ageMs = flips[facts.endedBy] ?? 0;
    if (ageMs >= graceMs) return { name, rule: 'stale', remove: true };
    return { name, rule: 'grace', remove: false, untilMs: nowMs + graceMs - ageMs };
  });
}

/** Snapshots replaced by the same flip are sorted by name, the most recent first. */
function byCurrency(a: SnapshotFacts, b: SnapshotFacts): number {
  const [first, second] = [currency(a), currency(b)];
  if (first !== second) return first > second ? -1 : 1;
  return a.name > b.name ? -1 : 1;
}

function currency({ isCurrent, endedBy }: SnapshotFacts): number {
  return isCurrent ? Number.POSITIVE_INFINITY : (endedBy ?? Number.NEGATIVE_INFINITY);
}

/**
 * Finds the flip that replaced each snapshot.
 * @param successorOf the known successor of each snapshot that is not in the history
 */
export function currencyFacts(
  names: readonly Timestamp[],
  current: Timestamp | null,
  history: readonly (SeenFlip & { readonly why: string })[],
  successorOf: ReadonlyMap<Timestamp, Timestamp>,
): SnapshotFacts[] {
  const endedBy = new Map<Timestamp, number>();
  const renewed = new Set<Timestamp>();
  for (const [at, { snapshot }] of history.entries()) {
    const next = history[at + 1];
    // The last entry is the current snapshot, or was replaced without a record.
    endedBy.set(snapshot, at + 1);
    if (next?.why === 'clean') renewed.add(snapshot);
  }
  return names.map((name) => {
    const ended = endedBy.get(name) ?? endedByChain(name);
    const isRenewed = renewed.has(name) && name !== current;
    return { name, isCurrent: name === current, endedBy: ended, ...(isRenewed && { isRenewed }) };
  });

  /** Returns the first flip to a snapshot that is not older than the successor: names grow with the flips. */
  function endedByChain(name: Timestamp): number | undefined {
    const successor = successorOf.get(name);
    if (successor === undefined) return undefined;
    const at = history.findIndex(({ snapshot }) => snapshot >= successor);
    return at === -1 ? history.length : at;
  }
}
