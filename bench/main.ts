/**
 * `npm run bench -- [NAME…] [--quick] [--rounds N] [--profile | --stacks] [--dir DIR] [--main FILE]`:
 * compares dropdock with the tools that people would use instead. Prints results immediately; full runs are
 * written to docs/benchmarks.md.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { killAll } from './children.js';
import { BenchmarksPage } from './page.js';
import type { Context, Question } from './question.js';
import { archive } from './questions/archive.js';
import { bulkCopied, bulkLinked } from './questions/bulk.js';
import { changed } from './questions/changed.js';
import { cleaning } from './questions/cleaning.js';
import { drops } from './questions/drops.js';
import { endpoint } from './questions/endpoint.js';
import { latency } from './questions/latency.js';
import { ready } from './questions/ready.js';
import { rest } from './questions/rest.js';
import { tags } from './questions/tags.js';
import { waiting } from './questions/waiting.js';
import { REMARKS } from './remarks.js';
import { rowsTable, summaryTable } from './table.js';

const QUESTIONS: readonly Question[] = [
  bulkLinked,
  bulkCopied,
  ready,
  changed,
  latency,
  drops,
  tags,
  rest,
  waiting,
  archive,
  endpoint,
  cleaning,
];

/** Space for layers of 2 GiB, copies of them in three stores, and an archive of each kind. */
const ROOM_GIB = 14;

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    stacks: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    dir: { type: 'string', default: tmpdir() },
    main: { type: 'string', default: MAIN },
    list: { type: 'boolean', default: false },
  },
});

await main();

async function main(): Promise<void> {
  const unknown = positionals.filter((name) => !QUESTIONS.some((each) => each.name === name));
  if (values.list || unknown.length > 0) {
    for (const { name, asks } of QUESTIONS) console.info(`${name.padEnd(10)} ${asks}`);
    process.exitCode = values.list ? 0 : 2;
    return;
  }
  mkdirSync(values.dir, { recursive: true });
  const directory = mkdtempSync(join(values.dir, 'dropdock-bench-'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      killAll();
      rmSync(directory, { recursive: true, force: true });
      process.exit(130);
    });
  }
  try {
    checkRoom(directory);
    for (const question of QUESTIONS) {
      if (positionals.length > 0 && !positionals.includes(question.name)) continue;
      await ask(question, directory);
    }
  } finally {
    killAll();
    rmSync(directory, { recursive: true, force: true });
  }
}

function checkRoom(directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  const free = (bavail * bsize) / 1024 ** 3;
  if (!values.quick && free < ROOM_GIB) {
    throw new Error(`${directory} has ${free.toFixed(1)} GiB of free space, but needs ${ROOM_GIB}`);
  }
}

async function ask(question: Question, directory: string): Promise<void> {
  const { quick, main } = values;
  const profile = profileOf(values);
  const { name, asks } = question;
  const rounds = profile ? 1 : Number(values.rounds ?? (quick ? 3 : question.rounds));
  const say = (text: string) => console.info(`  ${name}: ${text}`);
  let calls: string | undefined;
  const counted = (text: string) => {
    calls = text;
    say(`system calls while measured:\n${text}`);
  };
  const stacks: string[] = [];
  const sampled = (text: string) => stacks.push(text);
  const program = resolve(main);
  const given = { directory, main: program, quick, profile, rounds, say, counted, sampled };
  console.info(`\n${name}: ${asks}`);
  const begin = performance.now();
  const answer = await question.run(given);
  const tookS = Math.round((performance.now() - begin) / 1000);
  const section = { name, asks, rounds, measured: '', remark: REMARKS[name], ...answer };
  console.info(`\n${rowsTable(answer.rows)}\n\n${summaryTable([section])}\n(${tookS} s)`);
  if (quick || program !== MAIN) return;
  const order = QUESTIONS.map((each) => each.name);
  const page = new BenchmarksPage(directory, order);
  // strace and perf slow the daemon down, so these figures are not written; only the profile is added to the
  // page.
  if (profile === undefined) page.write(section);
  else if (calls !== undefined) page.writeCalls(name, calls);
  else if (stacks.length > 0) page.writeStacks(name, stacks.join('\n\n'));
}

function profileOf({ stacks, profile }: typeof values): Context['profile'] {
  if (stacks) return 'stacks';
  return profile ? 'calls' : undefined;
}
