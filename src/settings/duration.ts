/** Durations in settings: text such as `10m` to milliseconds. */
import * as v from 'valibot';

/** Node's timers wait at most about 24.8 days; a longer one fires at once. */
const TIMER_MS_MAX = 24 * 86_400_000;

export const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Accepts `500ms`, `1s`, `10m`, `1h`, `2d`, or a bare number of seconds. Returns milliseconds. */
export const duration = v.pipe(
  v.union([v.string(), v.number()]),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(String(dataset.value).trim());
    const unit = UNITS_MS[match?.[2] || 's'];
    if (match?.[1] === undefined || unit === undefined) {
      addIssue({ message: 'expected a duration such as 500ms, 1s, 10m, 1h or 2d' });
      return NEVER;
    }
    return Number(match[1]) * unit;
  }),
);

/** An interval or timeout that a timer can wait: 0 or a too long one would make it fire without pause. */
export const pause = v.pipe(
  duration,
  v.check((ms) => ms >= 10 && ms <= TIMER_MS_MAX, 'expected at least 10ms and at most 24d'),
);
