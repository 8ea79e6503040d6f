/** Formats sizes and times for people. The only file that imports pretty-bytes and pretty-ms. */
import prettyBytes from 'pretty-bytes';
import prettyMs from 'pretty-ms';

/** `512 B`, `1.5 GiB` */
export function formatBytes(bytes: number): string {
  return prettyBytes(bytes, { binary: true });
}

/** `350ms`, `2.5s`, `1m 35s` */
export function formatTime(ms: number): string {
  return prettyMs(ms);
}

/** `12s`, `3m`, `5h`, `2d`: only the largest unit, at least one second. */
export function formatAge(ms: number): string {
  return prettyMs(Math.max(1000, ms), { compact: true });
}

/** `0.023s`: always seconds, so that values can be compared and added. */
export function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)}s`;
}
