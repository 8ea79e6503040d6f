/** Draws a flame graph as SVG: the width of a function is its time, and it stands on its caller. Pure. */
import type { FrameKind, StackNode } from './stacks.js';
import { escaped, px } from './svg.js';

const [WIDTH, ROW, TOP] = [1000, 17, 30];
/** Minimum share of all samples; narrower boxes would be unreadable and make the file large. */
const SHARE_MIN = 0.004;
/** Approximate width of a letter in pixels. */
const LETTER = 6.4;

const COLOURS: Readonly<Record<FrameKind, string>> = {
  ours: '#f2a65a',
  library: '#e8d174',
  node: '#9fc5a8',
  kernel: '#8fb3d9',
  engine: '#cccccc',
};

/** Legend of the colours for the page. */
export const LEGEND =
  'orange is dropdock, yellow a library, green Node, blue the kernel, grey V8 and time that belongs to no function';

export function flameGraph(root: StackNode, title: string): string {
  const boxes: string[] = [];
  const depth = draw(boxes, root, root.samples, 0, 0);
  const height = TOP + (depth + 1) * ROW + 6;
  // The root is at the bottom.
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${WIDTH / 2}" y="19" text-anchor="middle" font-size="14">${escaped(title)}</text>`,
    `<g transform="translate(0 ${height - 6})">`,
    ...boxes,
    '</g>',
    '</svg>\n',
  ].join('\n');
}

/** @returns the number of rows above this one */
function draw(boxes: string[], node: StackNode, all: number, at: number, row: number): number {
  const width = (node.samples / all) * WIDTH;
  const label = `${node.name}, ${((node.samples / all) * 100).toFixed(1)} %`;
  const letters = Math.floor((width - 6) / LETTER);
  const shown =
    label.length <= letters ? label : `${node.name.slice(0, Math.max(0, letters - 1))}…`;
  const y = -(row + 1) * ROW;
  boxes.push(
    `<g><title>${escaped(label)}</title><rect x="${px(at)}" y="${y}" width="${px(width)}" height="${ROW - 1}" fill="${COLOURS[node.kind]}"/>` +
      `${letters > 3 ? `<text x="${px(at + 3)}" y="${y + 12}">${escaped(shown)}</text>` : ''}</g>`,
  );
  let [left, most] = [at, row];
  for (const child of [...node.below.values()].sort((a, b) => b.samples - a.samples)) {
    if (child.samples / all < SHARE_MIN) continue;
    most = Math.max(most, draw(boxes, child, all, left, row + 1));
    left += (child.samples / all) * WIDTH;
  }
  return most;
}
