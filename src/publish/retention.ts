/** Which snapshots stay and why. Pure; judged by what was current and when, never by name order. */
import { type Timestamp, timestampMs } from '../snapshot/timestamp.js';
import type { FlipRecord } from './history.js';

export interface RetentionPolicy {
  /** How many snapshots stay whatever their age, the current one among them. */
  readonly keep: number;
  /** What was current so long ago (ms) or later stays. */
  readonly graceMs: number;
  readonly nowMs: number;
}

export interface SnapshotFacts {
  readonly name: Timestamp;
  readonly isCurrent: boolean;
  /** When it stopped being current (ms); undefined for one that never was. */
  readonly lastCurrentMs: number | undefined;
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
  { keep, graceMs, nowMs }: RetentionPolicy,
): SnapshotVerdict[] {
  const byCurrency = [...snapshots].sort((a, b) => currency(b) - currency(a));
  let kept = 0;
  return byCurrency.map((facts): SnapshotVerdict => {
    const { name } = facts;
    if (facts.isCurrent) {
      kept++;
      return { name, rule: 'current', remove: false };
    }
    if (facts.lastCurrentMs === undefined) {
      // Perhaps another host's publish just before its flip: it gets the time to end.
      const untilMs = timestampMs(name) + graceMs;
      return { name, rule: 'unfinished', remove: nowMs >= untilMs, untilMs };
    }
    if (kept < keep && !facts.isRenewed) {
      kept++;
      return { name, rule: 'keep', remove: false };
    }
    const untilMs = facts.lastCurrentMs + graceMs;
    if (nowMs < untilMs) return { name, rule: 'grace', remove: false, untilMs };
    return { name, rule: 'stale', remove: true };
  });
}

function currency({ isCurrent, lastCurrentMs }: SnapshotFacts): number {
  return isCurrent ? Number.POSITIVE_INFINITY : (lastCurrentMs ?? Number.NEGATIVE_INFINITY);
}

/**
 * When each snapshot was last current.
 * @param baseOf for a snapshot the history does not name, those it knows to be built on it
 */
export function currencyFacts(
  names: readonly Timestamp[],
  current: Timestamp | null,
  history: readonly FlipRecord[],
  baseOf: ReadonlyMap<Timestamp, Timestamp>,
): SnapshotFacts[] {
  const lastCurrent = new Map<Timestamp, number>();
  const renewed = new Set<Timestamp>();
  for (const [at, record] of history.entries()) {
    const next = history[at + 1];
    if (next) lastCurrent.set(record.snapshot, timestampMs(next.at));
    if (next?.why === 'clean') renewed.add(record.snapshot);
  }
  return names.map((name) => {
    const successor = baseOf.get(name);
    const fromChain = successor === undefined ? undefined : timestampMs(successor);
    const lastCurrentMs = lastCurrent.get(name) ?? fromChain;
    const isRenewed = renewed.has(name) && name !== current;
    return { name, isCurrent: name === current, lastCurrentMs, ...(isRenewed && { isRenewed }) };
  });
}
