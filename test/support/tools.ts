/** Real tools: missing ones are skipped with a visible line, but never in CI. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, copyFileSync, mkdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

export function hasTools(...names: readonly string[]): boolean {
  const places = (process.env.PATH ?? '').split(delimiter).filter((place) => place !== '');
  return names.every((name) => places.some((place) => isProgram(join(place, name))));
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** For a part of a test that can be left out: false, with a visible line, where a tool is missing. @throws in CI */
export function haveTools(...names: readonly string[]): boolean {
  const missing = names.filter((name) => !hasTools(name));
  if (missing.length === 0) return true;
  const text = `needs ${missing.join(', ')}`;
  if (process.env.CI) throw new Error(text);
  console.info(`      left out: ${text}`);
  return false;
}

/** Skips what only root can do. */
export function needRoot(context: Mocha.Context): void {
  if (process.getuid?.() === 0) return;
  console.info('      skipped: needs root');
  context.skip();
}

/** For a suite's `before`: skips it, or fails it in CI. */
export function needTools(context: Mocha.Context, ...names: readonly string[]): void {
  const missing = names.filter((name) => !hasTools(name));
  if (missing.length === 0) return;
  const text = `needs ${missing.join(', ')}`;
  if (process.env.CI) throw new Error(text);
  console.info(`      skipped: ${text}`);
  context.skip();
}

/** Runs a tool to its end. @throws with its output when it fails */
export async function tool(name: string, ...given: readonly string[]): Promise<string> {
  const child = spawn(name, given);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += String(data);
    });
  }
  await once(child, 'close');
  if (child.exitCode !== 0) throw new Error(`${name} ${given.join(' ')}: ${output}`);
  return output;
}

/**
 * A real image made with umoci, without a network: a root filesystem with a program of this
 * machine in it. @returns the layout's path; its one tag is 1.0
 */
export function makeRealImage(directory: string, mark = 'one'): string {
  const layout = join(directory, 'layout');
  const bundle = join(directory, 'bundle');
  const run = (...given: string[]) => execFileSync('umoci', given, { stdio: 'pipe' });
  run('init', '--layout', layout);
  run('new', '--image', `${layout}:1.0`);
  run('unpack', '--rootless', '--image', `${layout}:1.0`, bundle);
  mkdirSync(join(bundle, 'rootfs', 'bin'), { recursive: true });
  copyFileSync('/bin/ls', join(bundle, 'rootfs', 'bin', `ls-${mark}`));
  run('repack', '--image', `${layout}:1.0`, bundle);
  run('config', '--image', `${layout}:1.0`, '--config.cmd', `/bin/ls-${mark}`);
  run('gc', '--layout', layout);
  return layout;
}
