/**
 * Names of snapshots: UTC times that sort as text and strictly increase, even if the clock is set back. Pure.
 */

declare const timestampBrand: unique symbol;
/** `20261123T152634.123Z` */
export type Timestamp = string & { readonly [timestampBrand]: true };

const TIMESTAMP = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3})Z$/;

export function isTimestamp(text: string): text is Timestamp {
  return TIMESTAMP.test(text) && !Number.isNaN(timestampMs(text as Timestamp));
}

/** @param ms since the epoch */
export function toTimestamp(ms: number): Timestamp {
  return new Date(ms).toISOString().replace(/[-:]/g, '') as Timestamp;
}

/** Returns milliseconds since the epoch. */
export function timestampMs(timestamp: Timestamp): number {
  return Date.parse(timestamp.replace(TIMESTAMP, '$1-$2-$3T$4:$5:$6.$7Z'));
}

/** Returns the current time, or one millisecond after the greatest used name if the clock is not past it. */
export function nextTimestamp(nowMs: number, taken: readonly string[]): Timestamp {
  const last = taken.filter(isTimestamp).sort().at(-1);
  return toTimestamp(last === undefined ? nowMs : Math.max(nowMs, timestampMs(last) + 1));
}
