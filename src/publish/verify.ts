/** Reads everything that is published and stored again, and says what is not as it should be. */
import { join, relative } from 'node:path';
import type { Disk } from '../disk/disk.js';
import { listIfThere, readFile, readLinkIfThere } from '../disk/durable.js';
import { digestOfFile } from '../disk/hash-file.js';
import { DropdockError, hasErrno } from '../errors.js';
import { type Digest, digestAlgorithm, isDigest } from '../image/digest.js';
import type { RepositoryId } from '../image/names.js';
import type { RenderedFile } from '../snapshot/render.js';
import { isTimestamp, type Timestamp } from '../snapshot/timestamp.js';
import { listSnapshots, readPivot } from './current.js';
import { expectedFiles } from './expected.js';
import {
  appLinkPath,
  appLinkTarget,
  contentDirectory,
  contentPath,
  snapshotPath,
  type TreeRoots,
  trashDirectory,
  trashPath,
} from './paths.js';
import { eachStored } from './sweep.js';

export interface Finding {
  readonly problem: 'damaged' | 'missing' | 'foreign' | 'wrong-link' | 'unreadable' | 'leftover';
  /** Below the published tree or the state. */
  readonly path: string;
  readonly detail: string;
}

export interface VerifyResult {
  readonly findings: readonly Finding[];
  /** Files whose bytes were read and hashed. */
  readonly files: number;
}

/** Checks one repository: its links, and every file of every snapshot that is kept. */
export function verifyRepository(
  disk: Disk,
  { roots, id }: { readonly roots: TreeRoots; readonly id: RepositoryId },
): VerifyResult {
  const check = new SnapshotCheck(disk, roots, id);
  check.links();
  for (const name of listSnapshots(disk, roots, id)) {
    if (isTimestamp(name)) check.snapshot(name);
    else check.find('foreign', join(roots.published, 'master', id, name), 'no snapshot');
  }
  return { findings: check.findings, files: check.files };
}

/** Checks that each file of the content store holds what its name says. */
export function verifyContent(disk: Disk, { roots }: { readonly roots: TreeRoots }): VerifyResult {
  const findings: Finding[] = [];
  let files = 0;
  const root = contentDirectory(roots);
  eachStored(disk, roots, (path) => {
    const [algorithm, , hex] = relative(root, path).split('/');
    const digest = `${algorithm}:${hex}`;
    const shown = relative(roots.state, path);
    if (!isDigest(digest)) {
      findings.push({ problem: 'foreign', path: shown, detail: 'not named by a digest' });
      return;
    }
    const kind = disk.statIfThere(path)?.kind;
    if (kind === undefined) return;
    if (kind !== 'file') {
      findings.push({ problem: 'damaged', path: shown, detail: `a ${kind} is in its place` });
      return;
    }
    files++;
    const found = digestOfFile(disk, path, digestAlgorithm(digest));
    if (found !== digest) {
      findings.push({ problem: 'damaged', path: shown, detail: `its bytes are ${found}` });
    }
  });
  return { findings, files };
}

/** Longer than anything lies in the trash while somebody empties it (ms). */
const TRASH_MS = 60_000;

/** What was to be deleted and was not: it takes up room, and the next start or `--repair` ends it. */
export function verifyTrash(
  disk: Disk,
  { roots, nowMs }: { readonly roots: TreeRoots; readonly nowMs: number },
): VerifyResult {
  const findings = listIfThere(disk, trashDirectory(roots)).flatMap(({ name }): Finding[] => {
    const path = trashPath(roots, name);
    const stat = disk.statIfThere(path);
    if (stat === undefined || nowMs - stat.ctimeMs < TRASH_MS) return [];
    const detail = 'deleting it was not finished';
    return [{ problem: 'leftover', path: relative(roots.state, path), detail }];
  });
  return { findings, files: 0 };
}

class SnapshotCheck implements VerifyResult {
  readonly findings: Finding[] = [];
  files = 0;
  /** Digests by inode: snapshots share files, and each is read once. */
  readonly #digests = new Map<string, Digest>();
  readonly #storeSeen = new Set<Digest>();

  constructor(
    readonly disk: Disk,
    readonly roots: TreeRoots,
    readonly id: RepositoryId,
  ) {}

  find(problem: Finding['problem'], path: string, detail: string): void {
    this.findings.push({ problem, path: relative(this.roots.published, path), detail });
  }

  links(): void {
    const { disk, roots, id } = this;
    const app = appLinkPath(roots, id);
    try {
      const current = readPivot(disk, roots, id);
      const link = readLinkIfThere(disk, app);
      if (current === null) {
        if (link !== undefined) this.find('wrong-link', app, 'leads to a repository that is gone');
        return;
      }
      if (link !== appLinkTarget(id)) this.find('wrong-link', app, `leads to ${link ?? 'nothing'}`);
      const path = snapshotPath(roots, id, current);
      if (!disk.statIfThere(path)) this.find('missing', path, 'the pivot leads to nothing');
    } catch (error) {
      if (!(error instanceof DropdockError)) throw error;
      this.find('wrong-link', String(error.details.path ?? app), error.message);
    }
  }

  snapshot(name: Timestamp): void {
    const { disk, roots, id } = this;
    const root = snapshotPath(roots, id, name);
    let files: RenderedFile[];
    try {
      files = expectedFiles(disk, roots, id, name, { urlTemplate: '', protected: false });
    } catch (error) {
      if (!(error instanceof DropdockError) && !hasErrno(error, 'ENOENT')) throw error;
      this.find('unreadable', root, (error as Error).message);
      return;
    }
    for (const file of files) this.#file(root, file);
    this.#strangers(root, new Set(files.map(({ path }) => path)));
  }

  #file(root: string, file: RenderedFile): void {
    const path = join(root, file.path);
    const stat = this.disk.statIfThere(path);
    if (stat?.kind !== 'file') {
      this.find('missing', path, stat ? `a ${stat.kind} is in its place` : 'not there');
      return;
    }
    this.#readable(path, stat.mode, 0o444);
    if ('text' in file) {
      const same =
        readFile(this.disk, path, Number.MAX_SAFE_INTEGER).toString('utf8') === file.text;
      if (!same) this.find('damaged', path, 'other text than its snapshot says');
    } else {
      const digest = 'content' in file ? file.content : file.tagged;
      const found = this.#digestOf(path, `${stat.dev}:${stat.ino}`, digest);
      if (found !== digest) this.find('damaged', path, `its bytes are ${found}`);
      this.#stored(digest);
    }
  }

  /** Thin drops leave out what is published only where the store has it too. */
  #stored(digest: Digest): void {
    const path = contentPath(this.roots, digest);
    if (this.#storeSeen.has(digest)) return;
    this.#storeSeen.add(digest);
    if (this.disk.statIfThere(path) !== undefined) return;
    const detail = 'a snapshot has it and the store does not';
    this.findings.push({ problem: 'missing', path: relative(this.roots.state, path), detail });
  }

  /** A web server is another user. */
  #readable(path: string, mode: number, wanted: number): void {
    if ((mode & wanted) === wanted) return;
    this.find('unreadable', path, `its mode is ${mode.toString(8)}: a web server cannot read it`);
  }

  #digestOf(path: string, inode: string, expected: Digest): Digest {
    const algorithm = digestAlgorithm(expected);
    const key = `${algorithm}:${inode}`;
    const known = this.#digests.get(key);
    if (known) return known;
    const digest = digestOfFile(this.disk, path, algorithm);
    this.#digests.set(key, digest);
    this.files++;
    return digest;
  }

  #strangers(root: string, expected: ReadonlySet<string>, below = ''): void {
    const { kind: itself, mode } = this.disk.stat(join(root, below));
    if (itself === 'directory') this.#readable(join(root, below), mode, 0o555);
    for (const { name, kind } of listIfThere(this.disk, join(root, below))) {
      const path = join(below, name);
      if (kind === 'directory') this.#strangers(root, expected, path);
      else if (!expected.has(path)) this.find('foreign', join(root, path), 'not of this snapshot');
    }
  }
}
