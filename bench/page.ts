/**
 * Generates docs/benchmarks.md from the last full results of each question. The results are stored next to
 * it, so that one question can be repeated alone.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flameGraph } from './flame-graph.js';
import { readStacks } from './stacks.js';
import { benchmarksPage, type Section } from './table.js';

const DOCS = fileURLToPath(new URL('../docs/', import.meta.url));
const ANSWERS = join(DOCS, 'benchmarks.json');
const PEERS = ['skopeo', 'docker-registry', 'nginx-light', 'inotify-tools', 'openssl', 'wrk'];

export class BenchmarksPage {
  /**
   * @param directory where the benchmarks run
   * @param order names of all questions
   */
  constructor(
    readonly directory: string,
    readonly order: readonly string[],
  ) {}

  /** Keeps an earlier profile, which does not belong to a run. */
  write(section: Section): void {
    mkdirSync(join(DOCS, 'images'), { recursive: true });
    for (const { file, svg } of section.plots ?? []) writeFileSync(join(DOCS, 'images', file), svg);
    // A plot is stored as its own file.
    const plots = section.plots?.map((plot) => ({ ...plot, svg: '' }));
    const sections = this.#kept();
    const { calls, flame } = sections.find(({ name }) => name === section.name) ?? {};
    const others = sections.filter(({ name }) => name !== section.name);
    const measured = measuredText();
    this.#write([...others, { calls, flame, ...section, measured, ...(plots && { plots }) }]);
  }

  writeCalls(name: string, calls: string): void {
    this.#write(this.#kept().map((each) => (each.name === name ? { ...each, calls } : each)));
  }

  writeStacks(name: string, text: string): void {
    const root = readStacks(text);
    const flame = `flame-${name}.svg`;
    const title = `${name}: the daemon's processor time, of ${root.samples} samples`;
    writeFileSync(join(DOCS, 'images', flame), flameGraph(root, title));
    this.#write(this.#kept().map((each) => (each.name === name ? { ...each, flame } : each)));
  }

  #kept(): readonly Section[] {
    return existsSync(ANSWERS) ? JSON.parse(readFileSync(ANSWERS, 'utf8')).sections : [];
  }

  #write(sections: readonly Section[]): void {
    const at = ({ name }: Section) => this.order.indexOf(name);
    const sorted = [...sections].sort((a, b) => at(a) - at(b));
    const machine = machineText(this.directory);
    writeFileSync(ANSWERS, `${JSON.stringify({ machine, sections: sorted }, rounded, 1)}\n`);
    writeFileSync(join(DOCS, 'benchmarks.md'), benchmarksPage(sorted, machine));
  }
}

/** Unnecessary digits would only make the file longer. */
const rounded = (_key: string, value: unknown) =>
  typeof value === 'number' ? Number(value.toPrecision(5)) : value;

function measuredText(): string {
  const commit = said('git', ['-C', DOCS, 'rev-parse', '--short', 'HEAD']);
  const day = new Date().toISOString().slice(0, 10);
  return `Measured on ${day}${commit && ` at ${commit}`}.`;
}

function machineText(directory: string): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 1024 ** 3)} GiB of memory`;
  const filesystem = said('df', ['--output=fstype', directory]).split('\n').at(-1);
  const versions = PEERS.flatMap((name) => {
    const version = said('dpkg-query', ['-W', '-f', '$' + '{Version}', name]);
    return version ? `${name} ${version}` : [];
  });
  return (
    `${cpus().length} cores (${cpu?.model.trim()}), ${memory}, ${filesystem}, Linux ${release()}, ` +
    `Node ${process.versions.node}; ${versions.join(', ')}.`
  );
}

function said(program: string, given: readonly string[]): string {
  try {
    return execFileSync(program, given, { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return '';
  }
}
