/** Real tools: skipped with a visible line where they are missing, never skipped in CI. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

export function hasTools(...names: readonly string[]): boolean {
  return names.every((name) => spawnSync('which', [name]).status === 0);
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
