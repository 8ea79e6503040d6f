/**
 * Goal: `npm run lint` reports every promise without a handler, in every spelling. Method: run the linter
 * with the project settings on each spelling, and on correct code.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { removeTempDirs, tempDir } from './support/temp-dir.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const WRONG = `
    work();
    void work();
    work().finally(() => {});
    Promise.all([work(), work()]);
    if (isLate) void work();
    setInterval(async () => { await work(); }, 1);
    setTimeout(() => work(), 1);
    queueMicrotask(work);
    process.on('SIGHUP', async () => { await work(); });
    new EventEmitter().once('end', () => work());
    [1].forEach(async () => { await work(); });
    takes({ onEnd: async () => { await work(); } });
    if (work()) setTimeout(() => {}, 1);
`;

const RIGHT = `
    await work();
    work().catch(handle);
    work().then(() => {}, handle);
    setInterval(() => { work().catch(handle); }, 1);
    process.on('SIGHUP', () => { work().catch(handle); });
    const kept = work();
    await kept;
`;

const file = (lines: string) => `import { EventEmitter } from 'node:events';
declare function work(): Promise<void>;
declare function handle(error: unknown): void;
declare function takes(hooks: { readonly onEnd: () => void }): void;
export async function all(isLate: boolean): Promise<void> {${lines}    new EventEmitter();
    takes({ onEnd: () => isLate });
}
`;

describe('the lint rules', () => {
  afterEach(removeTempDirs);

  /** @returns the numbers of the lines that are told of */
  const lint = (lines: string): number[] => {
    const place = tempDir();
    for (const name of ['.oxlintrc.json', 'package.json']) {
      cpSync(join(ROOT, name), join(place, name));
    }
    symlinkSync(join(ROOT, 'node_modules'), join(place, 'node_modules'));
    const path = join(place, 'src.ts');
    writeFileSync(path, file(lines));
    writeFileSync(
      join(place, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { strict: true, module: 'NodeNext', types: ['node'] } }),
    );
    const tool = join(ROOT, 'node_modules/.bin/oxlint');
    const given = ['--type-aware', '--deny-warnings', '-f', 'unix', path];
    const { stdout, stderr } = spawnSync(tool, given, { cwd: place, encoding: 'utf8' });
    expect(stdout + stderr).not.to.include('tsgolint executable');
    return [...stdout.matchAll(/src\.ts:(\d+):/g)].map(([, line]) => Number(line));
  };

  it('find an unhandled promise in every spelling', () => {
    const wrong = WRONG.trim().split('\n');
    const told = new Set(lint(WRONG));
    const missed = wrong.filter((_line, at) => !told.has(6 + at));
    expect(missed).to.deep.equal([]);
  });

  it('accept promises that are awaited or have a handler', () => {
    expect(lint(RIGHT)).to.deep.equal([]);
  });
});
