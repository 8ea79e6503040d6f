/** Median, spread and percentiles of samples. Pure. */

/** @param part 0 to 1: 0.5 is the median; one of a hundred samples exceeds 0.99 */
export function percentile(samples: readonly number[], part: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = part * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)] ?? 0, sorted[Math.ceil(at)] ?? 0];
  return below + (above - below) * (at - Math.floor(at));
}

export const median = (samples: readonly number[]) => percentile(samples, 0.5);

/** Returns the slope of the best straight line, and how well it fits: 1 is perfect. */
export function line(points: readonly (readonly [number, number])[]): {
  slope: number;
  intercept: number;
  fit: number;
} {
  const mean = (values: number[]) => values.reduce((sum, each) => sum + each, 0) / values.length;
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const sum = (of: (x: number, y: number) => number) =>
    points.reduce((total, [x, y]) => total + of(x - mx, y - my), 0);
  const [xx, xy, yy] = [sum((x) => x * x), sum((x, y) => x * y), sum((_, y) => y * y)];
  const slope = xy / xx;
  return { slope, intercept: my - slope * mx, fit: yy === 0 ? 1 : (xy * xy) / (xx * yy) };
}

/** Formats a number with three significant figures. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2);
  return size === 0 ? '0' : value.toFixed(3);
}

/** `1.23 (1.10–1.40)`: median, minimum and maximum. */
export function spread(samples: readonly number[]): string {
  const middle = figure(median(samples));
  if (samples.length < 2) return middle;
  return `${middle} (${figure(Math.min(...samples))}–${figure(Math.max(...samples))})`;
}
