/**
 * Puts right what verify finds and what can be put right: from the content store, from the other
 * files of the repository's snapshots, and from what each snapshot says of itself. Every file is
 * replaced by a rename, so that a reader sees the bad one or the good one. What has no good copy any
 * more is taken out of the store, so that the next drop of the image brings it back.
 */
import { basename, dirname, join } from 'node:path';
import { DropdockError, hasErrno } from '../../errors.js';
import { type Digest, digestAlgorithm } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import type { RepositoryId } from '../../image/names.js';
import type { RenderedFile } from '../../repository/render.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import {
  ensureDirectory,
  readFile,
  replaceFile,
  syncDirectory,
  withOpen,
} from '../../storage/durable.js';
import { digestOfFile } from '../../storage/hash-file.js';
import { job } from '../../storage/job.js';
import { STORED_MODE } from '../../storage/stored.js';
import { moveToTrash } from '../../storage/trash.js';
import { contentPath, snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { expectedFiles, type RedirectSettings } from './expected-files.js';
import { replacePivot } from './flip.js';
import { readHistory } from './flip-history.js';
import { listSnapshots, readPivot } from './pivot.js';
import { discardSpareTrees, TREE_DIRECTORY_MODE } from './spare-tree.js';

export interface RepairRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
  readonly owner: string;
  readonly redirect: RedirectSettings;
}

/** Under the repository's lock. @returns what was put right, in words */
export const repairRepository = job(
  'background',
  import.meta.url,
  function repairRepository(disk: Disk, request: RepairRequest): string[] {
    const repair = new Repair(disk, request);
    repair.pivot();
    for (const name of repair.snapshots) repair.snapshot(name);
    // They may hold what was bad.
    discardSpareTrees(disk, { roots: request.roots });
    return repair.repaired;
  },
);

class Repair {
  readonly repaired: string[] = [];
  readonly snapshots: readonly Timestamp[];
  readonly #expected = new Map<Timestamp, readonly RenderedFile[]>();
  /** Whether the bytes behind an inode are those of a digest; each is read once. */
  readonly #seen = new Set<string>();
  readonly #good = new Map<string, boolean>();
  /** How many files were made the store's again. */
  #shared = 0;

  constructor(
    readonly disk: Disk,
    readonly request: RepairRequest,
  ) {
    const { roots, id } = request;
    this.snapshots = listSnapshots(disk, roots, id).filter(isTimestamp);
    for (const name of this.snapshots) {
      try {
        this.#expected.set(name, expectedFiles(disk, roots, id, name, request.redirect));
      } catch (error) {
        // What it was cannot be told any more; verify reports it.
        if (!(error instanceof DropdockError) && !hasErrno(error, 'ENOENT')) throw error;
      }
    }
  }

  /** One that leads to nothing is turned to what was current before, as far as it is kept. */
  pivot(): void {
    const { disk } = this;
    const { roots, id, owner } = this.request;
    const current = readPivot(disk, roots, id);
    if (current === null || this.snapshots.includes(current)) return;
    const before = readHistory(disk, roots, id)
      .map(({ snapshot }) => snapshot)
      .filter((name) => this.#expected.has(name))
      .at(-1);
    if (before === undefined) return;
    replacePivot(disk, roots, id, { to: before, owner });
    this.repaired.push(`the pivot led to ${current}, which is gone; it leads to ${before} now`);
  }

  snapshot(name: Timestamp): void {
    const { roots, id } = this.request;
    const root = snapshotPath(roots, id, name);
    this.#mode(root, TREE_DIRECTORY_MODE, name);
    for (const file of this.#expected.get(name) ?? []) {
      const path = join(root, file.path);
      const shown = `${name}/${file.path}`;
      this.#directories(root, dirname(file.path), name);
      this.#clear(path, shown);
      if ('text' in file) this.#text(path, file.text, shown);
      else this.#content(path, file, shown);
      this.#mode(path, STORED_MODE, shown);
    }
    if (this.#shared > 0) this.repaired.push(`${name} shares ${this.#shared} files with the store`);
    this.#shared = 0;
  }

  /** Something that is no file cannot be replaced by one. */
  #clear(path: string, shown: string): void {
    const kind = this.disk.statIfThere(path)?.kind;
    if (kind === undefined || kind === 'file') return;
    moveToTrash(this.disk, this.request.roots, path, `in-the-way@${basename(path)}`);
    this.repaired.push(`took the ${kind} away that was in the place of ${shown}`);
  }

  #directories(root: string, below: string, name: Timestamp): void {
    if (below === '.' || this.#seen.has(join(root, below))) return;
    this.#seen.add(join(root, below));
    this.#directories(root, dirname(below), name);
    this.#mode(join(root, below), TREE_DIRECTORY_MODE, `${name}/${below}`);
  }

  /** A web server is another user: it must be able to read. */
  #mode(path: string, wanted: number, shown: string): void {
    const stat = this.disk.statIfThere(path);
    if (stat === undefined || (stat.mode & wanted & 0o555) === (wanted & 0o555)) return;
    if (stat.kind !== 'file' && stat.kind !== 'directory') return;
    const how = stat.kind === 'file' ? 'read' : 'directory';
    withOpen(this.disk, path, how, (fd) => this.disk.setMode(fd, wanted));
    this.repaired.push(`made ${shown} readable for web servers`);
  }

  #text(path: string, text: string, shown: string): void {
    const { disk } = this;
    const wanted = Buffer.from(text);
    const there = disk.statIfThere(path);
    if (there?.size === wanted.length && readFile(disk, path, wanted.length).equals(wanted)) return;
    ensureDirectory(disk, dirname(path));
    replaceFile(disk, path, wanted, this.#temporary(path), STORED_MODE);
    this.repaired.push(`wrote ${shown} anew`);
  }

  #content(path: string, file: RenderedFile, shown: string): void {
    const { disk } = this;
    const digest = digestIn(file);
    if (digest === undefined) return;
    if (this.#isGood(path, digest)) {
      // The next drop would be told that the store has it already; or, where a tree was copied
      // without its hard links and the store swept, that it must bring what is published.
      const good = this.#goodInStore(digest);
      if (good !== undefined && 'content' in file) this.#share(path, good);
      return;
    }
    const stored = this.#goodInStore(digest);
    if (stored === undefined) return;
    ensureDirectory(disk, dirname(path));
    const temporary = this.#temporary(path);
    if ('tagged' in file) {
      // A tag's file is its own: nginx makes its ETag of its time.
      const bytes = readFile(disk, stored, MANIFEST_BYTES_MAX);
      replaceFile(disk, path, bytes, temporary, STORED_MODE);
    } else {
      disk.link(stored, temporary);
      disk.rename(temporary, path);
      syncDirectory(disk, dirname(path));
    }
    this.repaired.push(`restored ${shown}`);
  }

  /** After a copy without hard links: the same bytes twice on the disk, and each name alone. */
  #share(path: string, stored: string): void {
    const { disk } = this;
    const [ours, theirs] = [path, stored].map((each) => disk.stat(each).ino);
    if (ours === theirs) return;
    const temporary = this.#temporary(path);
    try {
      disk.link(stored, temporary);
    } catch (error) {
      // A file can have so many names: old snapshots have another one of the same bytes.
      if (hasErrno(error, 'EMLINK')) return;
      throw error;
    }
    // Good before and after, so nobody waits for its sync.
    disk.rename(temporary, path);
    this.#shared++;
  }

  /** The store's file, if need be brought back from a good one in a snapshot. */
  #goodInStore(digest: Digest): string | undefined {
    const { disk } = this;
    const { roots } = this.request;
    const stored = contentPath(roots, digest);
    if (this.#isGood(stored, digest)) return stored;
    const copy = this.#copies(digest).find((path) => this.#isGood(path, digest));
    if (disk.statIfThere(stored) !== undefined) {
      moveToTrash(disk, roots, stored, `damaged@${basename(stored)}`);
      const how = copy === undefined ? 'it is to be dropped again' : 'there is another copy';
      this.repaired.push(`took ${digest} out of the store, its bytes are wrong; ${how}`);
    }
    if (copy === undefined) return undefined;
    ensureDirectory(disk, dirname(stored));
    disk.link(copy, stored);
    syncDirectory(disk, dirname(stored));
    this.repaired.push(`put ${digest} into the store, from a snapshot that has it`);
    return stored;
  }

  /** Every file of the repository's snapshots that should hold this. */
  #copies(digest: Digest): string[] {
    const { roots, id } = this.request;
    return [...this.#expected].flatMap(([name, files]) =>
      files
        .filter((file) => digestIn(file) === digest)
        .map(({ path }) => join(snapshotPath(roots, id, name), path)),
    );
  }

  #isGood(path: string, digest: Digest): boolean {
    const stat = this.disk.statIfThere(path);
    if (stat?.kind !== 'file') return false;
    const key = `${stat.dev}:${stat.ino}:${digest}`;
    const known = this.#good.get(key);
    if (known !== undefined) return known;
    const isGood = digestOfFile(this.disk, path, digestAlgorithm(digest)) === digest;
    this.#good.set(key, isGood);
    return isGood;
  }

  /** Beside what it replaces, hidden from web servers. */
  #temporary(path: string): string {
    return join(dirname(path), `.${this.request.owner}`);
  }
}

/** Undefined for a text that was made here. */
function digestIn(file: RenderedFile): Digest | undefined {
  if ('content' in file) return file.content;
  return 'tagged' in file ? file.tagged : undefined;
}
