/** What was measured as Markdown. Pure. */
import type { Answer, Goal, Row } from './question.js';
import { spread } from './statistics.js';

export interface Section extends Answer {
  readonly name: string;
  readonly asks: string;
  readonly rounds: number;
  /** When and of what it was measured. */
  readonly measured: string;
}

/** The one table that answers everything at a glance. */
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

/** Everything that was measured of one question. */
export function sectionText({
  name,
  asks,
  rounds,
  measured,
  rows,
  notes = [],
  plots = [],
}: Section): string {
  return [
    `## ${name}`,
    asks,
    rowsTable(rows),
    ...plots.map(({ file, alt }) => `![${alt}](images/${file})`),
    ...notes,
    `Rounds: ${rounds}. ${measured}`,
  ].join('\n\n');
}

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
