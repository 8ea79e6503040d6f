/**
 * File sizes, dependency rules, and agreement of docs and code; architecture.test.ts has the import
 * rules.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { ERROR_CODES } from '#src/errors.js';
import { EVENTS } from '#src/log.js';
import { restartSettings } from '#src/settings/reload.js';
import { settingPaths } from '#src/settings/schema.js';
import { loadSettings } from '#src/settings/settings.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SRC = join(ROOT, 'src');
const BENCH = join(ROOT, 'bench');

const sources = filesBelow(SRC).map((path) => ({
  path,
  room: path.split('/')[0]?.replace(/\.ts$/, '') ?? '',
  text: readFileSync(join(SRC, path), 'utf8'),
}));

/** They turn values into values. */
const PURE = new Set(['errors', 'crash', 'units', 'image', 'repository']);

const DOORS: Record<string, string[]> = {
  chokidar: ['inbox/watch.ts'],
  'proper-lockfile': ['storage/repository-lock.ts'],
  'p-map': ['targets/object-store/bring-content.ts'],
  'p-queue': ['publisher/batch-queue.ts', 'publisher/publisher.ts'],
  'p-retry': ['targets/object-store/retry-request.ts'],
  'p-timeout': [
    'daemon/daemon.ts',
    'metrics/health.ts',
    'web/page-reader.ts',
    'targets/object-store/pointer-cache.ts',
  ],
  winston: ['log.ts'],
  commander: ['main.ts'],
  bcryptjs: ['auth/check-password.ts'],
  jose: ['auth/tokens.ts'],
  fresh: ['registry/answer.ts'],
  'range-parser': ['registry/answer.ts'],
  'lru-cache': [
    'auth/gate.ts',
    'image/pattern.ts',
    'targets/object-store/read-current.ts',
    'targets/directory/snapshot-cache.ts',
    'registry/read-once.ts',
    'web/page-reader.ts',
    'targets/object-store/pointer-cache.ts',
    'targets/object-store/signed-urls.ts',
    'storage/user-names.ts',
  ],
  'pretty-bytes': ['units.ts'],
  'pretty-ms': ['units.ts'],
  'prom-client': ['metrics/definitions.ts', 'metrics/metrics.ts'],
  'node:child_process': [
    'daemon/systemd.ts',
    'storage/disk.ts',
    'storage/user-names.ts',
    'notify/deliver.ts',
  ],
  '@aws-sdk/client-s3': ['targets/object-store/s3-client.ts'],
  '@aws-sdk/s3-request-presigner': ['targets/object-store/s3-client.ts'],
  yaml: ['settings/settings.ts'],
  'fs-native-extensions': ['storage/kernel-lock.ts'],
  'node:worker_threads': [],
  piscina: ['workers/worker-pool.ts'],
};

/** The bench is no part of what is shipped; in size and manner it is as the source. */
const benches = filesBelow(BENCH)
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path: `bench/${path}`, text: readFileSync(join(BENCH, path), 'utf8') }));

function filesBelow(directory: string, below = ''): string[] {
  return readdirSync(join(directory, below), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? filesBelow(directory, join(below, entry.name))
      : [join(below, entry.name)],
  );
}

describe('the source code', () => {
  it('imports each dependency in one module', () => {
    for (const [name, doors] of Object.entries(DOORS)) {
      const users = sources
        .filter(({ text }) => text.includes(`'${name}'`) || text.includes(`('${name}')`))
        .map(({ path }) => path);
      expect(users, name).to.have.members(doors);
    }
  });

  it('accesses the filesystem in storage/ only', () => {
    const users = sources.filter(({ text }) => /from 'node:fs/.test(text)).map(({ path }) => path);
    const strangers = users.filter((path) => !path.startsWith('storage/') && path !== 'main.ts');
    expect(strangers).to.deep.equal([]);
  });

  it('creates links in one file, which contains the flip', () => {
    const users = sources
      .filter(({ room, text }) => room !== 'storage' && /replaceLink\(|\.symlink\(/.test(text))
      .map(({ path }) => path);
    expect(users).to.deep.equal(['targets/directory/flip.ts']);
  });

  it('exits the process and reads the environment in main only', () => {
    const users = sources
      .filter(({ text }) => /process\.(exit|env|on\()|console\./.test(text))
      .map(({ path }) => path);
    expect(users).to.deep.equal(['main.ts']);
  });

  it('uses no clock, randomness, process or filesystem in the pure folders', () => {
    for (const { path, room, text } of sources.filter(({ room }) => PURE.has(room))) {
      expect(/Date\.now|Math\.random|process\.|node:fs/.test(text), `${room}: ${path}`).to.equal(
        false,
      );
    }
  });

  it('logs only in main, cli and the daemon', () => {
    const users = sources
      .filter(({ text }) => /from '.*\/log\.js'/.test(text))
      .map(({ room }) => room);
    expect([...new Set(users)].sort()).to.deep.equal(['cli', 'daemon', 'main']);
  });

  it('has functions under 70 lines, and a purpose comment at the top of each file', () => {
    for (const { path, text } of [...sources, ...benches]) {
      const lines = text.split('\n');
      expect(/^(#!.*\n)?\/\*\*/.test(text), `${path} opens with a comment`).to.equal(true);
      expect(longestFunction(lines), `longest function of ${path}`).to.be.below(70);
    }
  });

  it('contains no TODO markers, debugger statements or type suppressions', () => {
    for (const { path, text } of [...sources, ...benches]) {
      expect(/TODO|FIXME|XXX|@ts-|debugger/.test(text), path).to.equal(false);
    }
  });
});

/** Lines from a line that opens a block at one or no level of indentation to the one that closes it. */
function longestFunction(lines: readonly string[]): number {
  let longest = 0;
  for (const [start, line] of lines.entries()) {
    if (!/^( {2})?(?!.*\b(class|interface|switch)\b)\S.*(\) |=> |: .* )\{$/.test(line)) continue;
    const indent = line.startsWith('  ') ? '  ' : '';
    const end = lines.findIndex((each, at) => at > start && each.startsWith(`${indent}}`));
    longest = Math.max(longest, end - start);
  }
  return longest;
}

describe('the documentation', () => {
  const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

  it('lists every error code and no other', () => {
    const listed = [...read('docs/errors.md').matchAll(/^\| `([^`]+)` \|/gm)].map(
      ([, code]) => code,
    );
    expect(listed).to.deep.equal(Object.keys(ERROR_CODES));
  });

  it('has no error code that the source does not use', () => {
    const all = sources.map(({ text }) => text).join('\n');
    for (const code of Object.keys(ERROR_CODES)) {
      expect(all.split(`'${code}'`).length, code).to.be.greaterThan(2);
    }
  });

  it('lists every event and no other', () => {
    const listed = [...read('docs/events.md').matchAll(/^\| `([^`]+)` \|/gm)].map(
      ([, name]) => name,
    );
    expect([...listed].sort()).to.deep.equal([...EVENTS].sort());
  });

  it('shows every setting with its default', () => {
    const text = read('config/dropdock.yaml');
    const shown = loadSettings({ file: { name: 'it', text }, environment: {}, flags: [] });
    const defaults = loadSettings({ file: undefined, environment: {}, flags: [] });
    expect(shown.settings).to.deep.equal(defaults.settings);
    for (const path of settingPaths()) {
      const [section = '', leaf = section] = path;
      expect(text, path.join('.')).to.match(new RegExp(`^(  )?(# )?${leaf}:`, 'm'));
    }
  });

  it('lists the settings that need a restart', () => {
    const [, listed = ''] =
      /Only a restart changes: (.+?)\.\n#\n/s.exec(read('config/dropdock.yaml')) ?? [];
    const named = listed.split(/,[\s#]+/);
    // `paths` stands for all its settings, where all of them need one.
    const needed = restartSettings();
    const shortest = (name: string) => {
      const [section = ''] = name.split('.');
      return named.includes(section) ? section : name;
    };
    expect(named).to.deep.equal([...new Set(needed.map(shortest))]);
    const whole = settingPaths().filter(([section = '']) => named.includes(section));
    expect(needed).to.include.members(whole.map((path) => path.join('.')));
  });

  it('numbers the steps of a publish as the code does', () => {
    const steps = [...read('docs/design.md').matchAll(/^(\d+)\. /gm)].map(([, number]) => number);
    const code = [
      ...read('src/targets/directory/directory-target.ts').matchAll(/^ \* +(\d+)\. /gm),
    ].map(([, n]) => n);
    expect(steps).to.deep.equal(code);
    expect(code).to.have.length(14);
  });
});
