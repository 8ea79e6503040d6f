/** The structure is a test: which folder of the source may import which, and no two files in a circle. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const SRC = fileURLToPath(new URL('../src/', import.meta.url));

/**
 * What each folder, or file outside of them, may import. From the top down: each imports only what
 * stands below it, so folders have no cycles either.
 */
const MAY_IMPORT: Readonly<Record<string, string>> = {
  main: 'commands daemon settings log errors',
  commands:
    'daemon threads publisher publish inbox report settings disk snapshot image log units errors crash',
  daemon:
    'threads registry objects metrics publisher publish notify inbox access page report settings disk snapshot image log units errors crash',
  threads: 'objects publish notify inbox readers access settings disk snapshot image errors crash',
  registry: 'objects publish access page settings disk snapshot image errors',
  objects: 'publisher publish disk snapshot image errors',
  metrics: 'publisher report disk snapshot units',
  publisher: 'publish inbox report settings disk snapshot image errors',
  publish: 'disk snapshot image errors crash',
  notify: 'disk snapshot units errors crash',
  inbox: 'disk snapshot image errors',
  readers: 'disk image errors',
  access: 'disk image errors',
  page: 'snapshot units',
  disk: 'snapshot image units errors crash',
  report: 'image errors',
  settings: 'image errors',
  snapshot: 'image errors',
  image: 'errors',
  log: '',
  units: '',
  errors: '',
  crash: '',
};

/** Imports between folders that the table forbids and that are still there: `'inbox -> publish'`. */
const KNOWN: readonly string[] = [
  // A directory implements the interface of targets, and the publisher knows the paths of the tree.
  'publish -> publisher',
];

/** By path below src/; type-only and dynamic imports count. */
const imports = new Map(
  readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .sort()
    .map((path) => [path, importsOf(path, readFileSync(join(SRC, path), 'utf8'))]),
);

function importsOf(path: string, text: string): string[] {
  const statements =
    /^(?:import|export)\b(?:[^;]*?\bfrom)?\s*'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'/gm;
  return [...text.matchAll(statements)].map(([, from, dynamic]) =>
    normalize(join(dirname(path), from ?? dynamic ?? '')).replace(/\.js$/, '.ts'),
  );
}

const folderOf = (path: string) => path.split('/')[0]?.replace(/\.ts$/, '') ?? '';

/** One cycle for each import that leads back to where the search came from. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push([...trail.slice(start), path].join(' -> '));
    if (start >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}

describe('the architecture', () => {
  it('has no import cycles between files', () => {
    expect(cyclesOf(imports)).to.deep.equal([]);
  });

  it('finds a cycle, and names it', () => {
    const text = "import type {\n  A,\n} from './b.js';\nconst c = import('../c.js');\n";
    expect(importsOf('x/a.ts', text)).to.deep.equal(['x/b.ts', 'c.ts']);
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['d', 'b']],
      ['d', []],
    ]);
    expect(cyclesOf(graph)).to.deep.equal(['b -> c -> b']);
  });

  it('reads every import to a file that exists', () => {
    const unknown = [...imports].flatMap(([path, targets]) =>
      targets.filter((target) => !imports.has(target)).map((target) => `${path} -> ${target}`),
    );
    expect(unknown).to.deep.equal([]);
  });

  it('imports only what the table allows', () => {
    const forbidden = new Map<string, string>();
    for (const [path, targets] of imports) {
      const folder = folderOf(path);
      expect(MAY_IMPORT, 'every folder has a row').to.have.property(folder);
      const allowed = [folder, ...(MAY_IMPORT[folder] ?? '').split(' ')];
      for (const target of targets.filter((each) => !allowed.includes(folderOf(each)))) {
        forbidden.set(`${folder} -> ${folderOf(target)}`, `${path} imports ${target}`);
      }
    }
    const added = [...forbidden].filter(([pair]) => !KNOWN.includes(pair));
    expect(added.map(([, example]) => example)).to.deep.equal([]);
    expect([...forbidden.keys()], 'known exceptions that are gone').to.have.members(KNOWN);
  });

  it('has a table in which each folder stands above what it imports', () => {
    const order = Object.keys(MAY_IMPORT);
    for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
      for (const name of allowed.split(' ').filter(Boolean)) {
        expect(order.indexOf(name), `${folder} imports ${name}`).to.be.above(order.indexOf(folder));
      }
    }
  });
});
