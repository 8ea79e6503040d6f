/** Checks that a tree is unchanged: compares everything except access times. */
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export class Witness {
  readonly #before: string;

  /** Holds the given files (name to bytes) and a directory of the same files. */
  constructor(
    readonly path: string,
    files: ReadonlyMap<string, Buffer>,
  ) {
    mkdirSync(join(path, 'sub'), { recursive: true });
    for (const [name, bytes] of files) {
      writeFileSync(join(path, name), bytes);
      writeFileSync(join(path, 'sub', name), bytes);
    }
    this.#before = this.#look();
  }

  isUntouched(): boolean {
    return this.#look() === this.#before;
  }

  #look(): string {
    const all = readdirSync(this.path, { recursive: true, encoding: 'utf8' }).sort();
    return ['.', ...all].map((name) => describeEntry(join(this.path, name))).join('\n');
  }
}

function describeEntry(path: string): string {
  const { ino, mode, uid, nlink, size, mtimeMs, ctimeMs } = lstatSync(path);
  const isFile = (mode & 0o170000) === 0o100000;
  const bytes = isFile ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
  return [path, ino, mode, uid, nlink, size, mtimeMs, ctimeMs, bytes].join(' ');
}
