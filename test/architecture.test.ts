/** The architecture as a test: which source folder may import which, and no import cycles between files. */
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
  main: 'cli daemon settings log errors',
  cli: 'daemon workers publisher inbox report settings storage repository image log units errors crash',
  daemon:
    'workers staging web targets/directory targets/object-store targets registry metrics notify publisher inbox auth report settings storage repository image log units errors crash',
  workers: 'storage errors crash',
  staging: 'targets/directory publisher formats inbox storage image errors',
  web: 'registry auth settings repository image units errors',
  'targets/directory': 'targets registry publisher settings storage repository image errors',
  'targets/object-store': 'targets registry publisher settings storage repository image errors',
  targets: 'registry metrics publisher settings storage repository image errors',
  registry: 'auth settings storage repository image errors',
  metrics: 'publisher report storage repository units',
  publisher: 'inbox report settings storage repository image errors',
  notify: 'storage repository units errors crash',
  inbox: 'formats storage repository image errors',
  formats: 'storage image errors',
  auth: 'storage image errors',
  storage: 'repository image units errors crash',
  report: 'image errors',
  settings: 'image errors',
  repository: 'image errors',
  image: 'errors',
  log: '',
  units: '',
  errors: '',
  crash: '',
};

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

const folderOf = (path: string) => (path.includes('/') ? dirname(path) : path.replace(/\.ts$/, ''));

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
  it('has no two files of one name', () => {
    const names = [...imports.keys()].map((path) => path.replace(/^.*\//, ''));
    expect(names.filter((name, at) => names.indexOf(name) !== at)).to.deep.equal([]);
  });

  it('has no import cycles between files', () => {
    expect(cyclesOf(imports)).to.deep.equal([]);
  });

  it('reports a cycle with the names of its files', () => {
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

  it('resolves every import to an existing file', () => {
    const unknown = [...imports].flatMap(([path, targets]) =>
      targets.filter((target) => !imports.has(target)).map((target) => `${path} -> ${target}`),
    );
    expect(unknown).to.deep.equal([]);
  });

  it('imports only what the table of folders allows', () => {
    const forbidden = new Map<string, string>();
    for (const [path, targets] of imports) {
      const folder = folderOf(path);
      expect(MAY_IMPORT, 'every folder has a row').to.have.property(folder);
      const allowed = [folder, ...(MAY_IMPORT[folder] ?? '').split(' ')];
      for (const target of targets.filter((each) => !allowed.includes(folderOf(each)))) {
        forbidden.set(`${folder} -> ${folderOf(target)}`, `${path} imports ${target}`);
      }
    }
    expect([...forbidden.values()]).to.deep.equal([]);
  });

  it('has a table in which each folder is above the folders it imports', () => {
    const order = Object.keys(MAY_IMPORT);
    for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
      for (const name of allowed.split(' ').filter(Boolean)) {
        expect(order.indexOf(name), `${folder} imports ${name}`).to.be.above(order.indexOf(folder));
      }
    }
  });

  it('has no row for an import that no file makes', () => {
    const made = new Set(
      [...imports].flatMap(([path, targets]) =>
        targets.map((target) => `${folderOf(path)} -> ${folderOf(target)}`),
      ),
    );
    const unused = Object.entries(MAY_IMPORT).flatMap(([folder, allowed]) =>
      allowed
        .split(' ')
        .filter(Boolean)
        .map((name) => `${folder} -> ${name}`)
        .filter((each) => !made.has(each)),
    );
    expect(unused).to.deep.equal([]);
  });

  /**
   * State belongs to objects that are made and passed on. These exceptions are caches of values that never
   * change; any of them can be emptied at any moment and nothing but time is lost.
   */
  it('has no state in modules, except for caches', () => {
    const caches = [
      'formats/decompress.ts loading',
      'image/pattern.ts compiled',
      'repository/content-files.ts renderedOf',
      'repository/merge.ts liveOf',
      'repository/snapshot-file.ts recordTexts',
      'repository/snapshot-file.ts tagTexts',
      'storage/clock.ts knownId',
      'storage/owner.ts knownBootId',
      'storage/verified-copy.ts withoutReflinks',
      'inbox/filesystem-time.ts trusted',
      'targets/directory/snapshot-cache.ts remembered',
      'targets/object-store/build-objects.ts last',
    ];
    const state =
      /^(?:export )?(?:let|const (?=\w+ = new (?:(?:Map|Set|WeakMap|WeakSet)\b[^(]*\(\)|LRUCache)))\s*(\w+)/gm;
    const found = [...imports.keys()].flatMap((path) =>
      [...readFileSync(join(SRC, path), 'utf8').matchAll(state)].map(
        ([, name]) => `${path} ${name}`,
      ),
    );
    expect(found).to.have.members(caches);
  });
});
