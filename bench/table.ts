/** Formats the results as Markdown. Pure. */
import { LEGEND } from './flame-graph.js';
import type { Answer, Goal, Row } from './question.js';
import { spread } from './statistics.js';

export interface Section extends Answer {
  readonly name: string;
  readonly asks: string;
  readonly rounds: number;
  /** Date and commit of the measurement. */
  readonly measured: string;
  /** Where the time goes, in words. */
  readonly remark?: string | undefined;
  /** The system calls of one measurement, counted by strace. */
  readonly calls?: string | undefined;
  /** Flame graph of the daemon during the measurements, below docs/images. */
  readonly flame?: string | undefined;
}

const HEAD = `# Benchmarks

This page compares dropdock with the tools that people would use instead. \`npm run bench\` generates it; do not edit it.

    npm run bench                        all questions, about twenty minutes
    npm run bench -- bulk latency        some of them
    npm run bench -- tags --quick        small sizes, printed only
    npm run bench -- tags --profile      counts the daemon's system calls (strace) and adds them below
    npm run bench -- tags --stacks       samples the daemon's stacks (perf) and draws them as a flame graph

The benchmarks run the shipped program, \`dist/main.js run\`, with the default settings and the environment of its
unit, and measure it from outside. Each peer is measured in the same run, in turns: peer, dropdock, peer, dropdock. Files
on the disk are in the page cache on both sides, and were synced before. dropdock syncs everything that it
publishes; if the peer does not, the table says so. After each run the served content is checked
against its digest. The tables show the median, with the least and the most. The daemon is warm: it has
published a few small images before.

The flame graphs show how the daemon spends processor time: ${LEGEND}. Open a graph by
itself to see the names of narrow boxes. They count computing time, not waiting time.`;

/** The complete text of docs/benchmarks.md. */
export function benchmarksPage(sections: readonly Section[], machine: string): string {
  const parts = [HEAD, `The machine: ${machine}`, summaryTable(sections)];
  return `${[...parts, ...sections.map(sectionText)].join('\n\n')}\n`;
}

/** A table with the goals of all questions. */
export function summaryTable(sections: readonly Section[]): string {
  const lines = sections.flatMap(({ name, rows }) =>
    rows.flatMap((row) =>
      row.goals.map(
        (goal) => `| ${name} | ${cell(row.title)} | ${cell(goal.text)} | ${verdict(goal)} |`,
      ),
    ),
  );
  return ['| question | what | must reach | reached |', '| --- | --- | --- | --- |', ...lines].join(
    '\n',
  );
}

const verdict = ({ value, reached }: Goal) => (reached ? `**${value}**` : `${value}, **not yet**`);

/** Returns all results of one question. */
export function sectionText(section: Section): string {
  const {
    name,
    asks,
    rounds,
    measured,
    rows,
    notes = [],
    plots = [],
    remark,
    calls,
    flame,
  } = section;
  return [
    `## ${name}`,
    asks,
    rowsTable(rows),
    ...plots.map(({ file, alt }) => `![${alt}](images/${file})`),
    ...notes,
    ...(remark ? [remark] : []),
    ...(flame ? [`![Where the processor time of ${name} goes](images/${flame})`] : []),
    ...(calls ? [`The daemon's system calls in one measurement:\n\n${indented(calls)}`] : []),
    `Rounds: ${rounds}. ${measured}`,
  ].join('\n\n');
}

const indented = (text: string) => text.replaceAll(/^/gm, '    ');

export function rowsTable(rows: readonly Row[]): string {
  const lines = rows.flatMap(({ title, unit, ours, peers, spent }) => [
    `| ${cell(title)} | **${cell(ours.name)}** | ${spread(ours.samples)} ${unit} | ${cell(spent ?? '')} |`,
    ...peers.map(
      (peer) =>
        `| | ${cell(peer.name)} | ${spread(peer.samples)} ${unit} | ${cell(peer.without ?? '')} |`,
    ),
  ]);
  return ['| | | median (least–most) | |', '| --- | --- | --- | --- |', ...lines].join('\n');
}

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
