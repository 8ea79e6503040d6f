/** Draws plots as SVG: a few lines over two linear axes that begin at zero. Pure. */
import { figure } from './statistics.js';
import { escaped, px } from './svg.js';

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
  /** Only a dashed line, without points. */
  readonly dashed?: boolean;
}

export interface Axes {
  readonly title: string;
  readonly x: string;
  readonly y: string;
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 400, 70, 40, 40, 50];
const COLOURS = ['#0b6e99', '#c4512d', '#4d7c0f', '#7c3aed'];

export function plot(lines: readonly Line[], { title, x, y }: Axes): string {
  const all = lines.flatMap(({ points }) => points);
  const [xTicks, yTicks] = [ticks(most(all, 0)), ticks(most(all, 1))];
  const [xMost, yMost] = [xTicks.at(-1) ?? 1, yTicks.at(-1) ?? 1];
  const toX = (value: number) => LEFT + (value / xMost) * (WIDTH - LEFT - RIGHT);
  const toY = (value: number) => HEIGHT - BOTTOM - (value / yMost) * (HEIGHT - TOP - BOTTOM);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(WIDTH / 2, 22, title, 'middle', 15),
    ...yTicks.flatMap((value) => [
      `<path d="M${LEFT} ${px(toY(value))}H${WIDTH - RIGHT}" stroke="#ddd"/>`,
      text(LEFT - 8, toY(value) + 4, figure(value), 'end'),
    ]),
    ...xTicks.map((value) => text(toX(value), HEIGHT - BOTTOM + 20, figure(value), 'middle')),
    text(WIDTH / 2, HEIGHT - 10, x, 'middle'),
    `<g transform="rotate(-90 16 ${HEIGHT / 2})">${text(16, HEIGHT / 2, y, 'middle')}</g>`,
    ...lines.flatMap((line, at) => drawn(line, COLOURS[at % COLOURS.length] ?? '#000', toX, toY)),
    ...lines.flatMap(({ name }, at) => [
      `<rect x="${LEFT + 14}" y="${TOP + 6 + at * 20}" width="12" height="12" fill="${COLOURS[at % COLOURS.length]}"/>`,
      text(LEFT + 34, TOP + 17 + at * 20, name, 'start'),
    ]),
    '</svg>\n',
  ].join('\n');
}

function drawn(
  { points, dashed = false }: Line,
  colour: string,
  toX: (value: number) => number,
  toY: (value: number) => number,
): string[] {
  const at = points.map(([x, y]) => `${px(toX(x))} ${px(toY(y))}`);
  const path = `<path d="M${at.join('L')}" fill="none" stroke="${colour}" stroke-width="2"${dashed ? ' stroke-dasharray="6 4"' : ''}/>`;
  // With many points the line is sufficient.
  if (dashed || points.length > 20) return [path];
  const dots = points.map(
    ([x, y]) => `<circle cx="${px(toX(x))}" cy="${px(toY(y))}" r="4" fill="${colour}"/>`,
  );
  return [path, ...dots];
}

function most(points: readonly (readonly [number, number])[], at: 0 | 1): number {
  return points.reduce((sofar, point) => Math.max(sofar, point[at]), 0) || 1;
}

/** Returns round numbers from zero up to the first one that is not below the maximum. */
export function ticks(value: number): number[] {
  const rough = value / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10) * power;
  const count = Math.ceil(value / step - 1e-9);
  return Array.from({ length: count + 1 }, (_none, at) => Number((at * step).toPrecision(12)));
}

function text(x: number, y: number, of: string, anchor: string, size = 13): string {
  return `<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}" font-size="${size}">${escaped(of)}</text>`;
}
