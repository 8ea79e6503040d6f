/** Which snapshots stay and why. Pure; judged by what was current and how long ago, see grace.ts. */

import type { SeenFlip } from './grace.js';
import type { Timestamp } from './timestamp.js';

export interface RetentionPolicy {
  /** How many snapshots stay whatever their age, the current one among them. */
  readonly keep: number;
  /** What was current so long ago (ms) or later stays. */
  readonly graceMs: number;
}

/** What is known of time, see grace.ts. */
export interface KnownAges {
  /** At least so many milliseconds ago was each flip of the history. */
  readonly flips: readonly number[];
  /** At least so long (ms) has a snapshot that never was current been seen. */
  readonly unfinished: (name: Timestamp) => number;
  /** The wall clock: only to say until when something stays. */
  readonly nowMs: number;
}

export interface SnapshotFacts {
  readonly name: Timestamp;
  readonly isCurrent: boolean;
  /**
   * The place in the history of the flip by which it stopped being current; beyond its end where the
   * history does not know that flip. Undefined for one that never was current.
   */
  readonly endedBy: number | undefined;
  /** A cleaning has made another of it that serves the same: nobody needs it to go back to. */
  readonly isRenewed?: boolean;
}

export interface SnapshotVerdict {
  readonly name: Timestamp;
  readonly rule: 'current' | 'keep' | 'grace' | 'stale' | 'unfinished';
  readonly remove: boolean;
  /** Until when the grace period keeps it (ms). */
  readonly untilMs?: number;
}

/** Newest first. A snapshot that never was current counts for nothing but its grace period. */
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
      // Perhaps another host's publish just before its flip: it gets the time to end.
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

/** Those that ended with the same flip come in the order of their names: as they were made. */
function byCurrency(a: SnapshotFacts, b: SnapshotFacts): number {
  const [first, second] = [currency(a), currency(b)];
  if (first !== second) return first > second ? -1 : 1;
  return a.name > b.name ? -1 : 1;
}

function currency({ isCurrent, endedBy }: SnapshotFacts): number {
  return isCurrent ? Number.POSITIVE_INFINITY : (endedBy ?? Number.NEGATIVE_INFINITY);
}

/**
 * By which flip each snapshot stopped being current.
 * @param successorOf for a snapshot the history does not name, what is known to be built on it
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
    // After the last one the pivot went on without a record, or it is what is current.
    endedBy.set(snapshot, at + 1);
    if (next?.why === 'clean') renewed.add(snapshot);
  }
  return names.map((name) => {
    const ended = endedBy.get(name) ?? endedByChain(name);
    const isRenewed = renewed.has(name) && name !== current;
    return { name, isCurrent: name === current, endedBy: ended, ...(isRenewed && { isRenewed }) };
  });

  /** The first flip to something that is no older than its successor: names grow with the flips. */
  function endedByChain(name: Timestamp): number | undefined {
    const successor = successorOf.get(name);
    if (successor === undefined) return undefined;
    const at = history.findIndex(({ snapshot }) => snapshot >= successor);
    return at === -1 ? history.length : at;
  }
}
