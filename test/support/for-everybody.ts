/**
 * Places that every user of the machine can enter, wherever this repository was cloned: for tests in
 * which another user runs the program, or reads published files. Root's home, a private TMPDIR and a Node
 * installation below either are closed to others.
 */
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  lstatSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempDir } from './temp-dir.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Bits that a stranger needs: to enter a directory, to read a file. */
const [ENTER, READ] = [0o001, 0o004];

/** A temporary directory that everybody can enter and list, below one in which that helps. */
export function openTempDir(): string {
  const base = [tmpdir(), '/tmp', '/var/tmp'].find((each) => isOpen(each) && isWritable(each));
  const path = tempDir(base);
  chmodSync(path, 0o755);
  return path;
}

/** The program and its Node, where everybody can read both: copies where they must be. */
export function programForAll(): { readonly node: string; readonly main: string } {
  return { node: nodeForAll(), main: mainForAll() };
}

function nodeForAll(): string {
  const { execPath } = process;
  if (isOpen(execPath)) return execPath;
  const copy = join(openTempDir(), basename(execPath));
  cpSync(execPath, copy);
  chmodSync(copy, 0o755);
  return copy;
}

function mainForAll(): string {
  const parts = ['package.json', 'dist', ...shippedModules()];
  const isReadable = parts.every(
    (part) => isOpen(join(ROOT, part)) && isAllReadable(join(ROOT, part)),
  );
  if (isReadable) return join(ROOT, 'dist', 'main.js');
  const place = openTempDir();
  for (const part of parts) {
    cpSync(join(ROOT, part), join(place, part), { recursive: true });
    openAll(join(place, part));
  }
  for (const part of parts) openWayTo(place, part);
  return join(place, 'dist', 'main.js');
}

/** The packages that are shipped with it, but for those that only object stores need. */
function shippedModules(): string[] {
  const text = readFileSync(join(ROOT, 'package-lock.json'), 'utf8');
  const { packages } = JSON.parse(text) as {
    readonly packages: Record<string, Readonly<Record<'dev' | 'devOptional' | 'peer', boolean>>>;
  };
  return Object.entries(packages)
    .filter(([path]) => /^node_modules\/(?!@aws|@smithy)/.test(path) && isThere(join(ROOT, path)))
    .filter(([_path, { dev, devOptional, peer }]) => !dev && !devOptional && !peer)
    .map(([path]) => path);
}

/** Optional packages may not be installed. */
function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Everybody may go there, and read it. */
function isOpen(path: string): boolean {
  if (!isThere(path)) return false;
  const real = realpathSync(path);
  if ((statSync(real).mode & READ) === 0) return false;
  for (let each = dirname(real); ; each = dirname(each)) {
    if ((statSync(each).mode & ENTER) === 0) return false;
    if (each === dirname(each)) return true;
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function isAllReadable(path: string): boolean {
  return all(path).every((each) => {
    const stat = lstatSync(each);
    const wanted = stat.isDirectory() ? READ | ENTER : READ;
    return stat.isSymbolicLink() || (stat.mode & wanted) === wanted;
  });
}

function openAll(path: string): void {
  for (const each of all(path)) {
    const stat = lstatSync(each);
    if (!stat.isSymbolicLink()) chmodSync(each, stat.isDirectory() ? 0o755 : 0o644);
  }
}

/** The directories that a copy has made on its way follow the umask, too. */
function openWayTo(place: string, part: string): void {
  for (let each = dirname(part); each !== '.'; each = dirname(each)) {
    chmodSync(join(place, each), 0o755);
  }
}

function all(path: string): string[] {
  if (!lstatSync(path).isDirectory()) return [path];
  return [path, ...readdirSync(path).flatMap((name) => all(join(path, name)))];
}
