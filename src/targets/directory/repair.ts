/**
 * Repairs what verify finds, from the content store, from other files of the repository's snapshots, and from
 * the description of each snapshot. Every file is replaced by a rename, so a reader sees the bad or the good
 * file. Content without a good copy is taken out of the store, so that the next drop of the image supplies it
 * again.
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

/**
 * Runs under the repository's lock.
 * @returns a description of each repair
 */
export const repairRepository = job(
  'background',
  import.meta.url,
  function repairRepository(disk: Disk, request: RepairRequest): string[] {
    const repair = new Repair(disk, request);
    repair.pivot();
    for (const name of repair.snapshots) repair.snapshot(name);
    // They may link bad files.
    discardSpareTrees(disk, { roots: request.roots });
    return repair.repaired;
  },
);

class Repair {
  readonly repaired: string[] = [];
  readonly snapshots: readonly Timestamp[];
  readonly #expected = new Map<Timestamp, readonly RenderedFile[]>();
  /** Whether the bytes of an inode match a digest. Each inode is read once. */
  readonly #seen = new Set<string>();
  readonly #good = new Map<string, boolean>();
  /** Number of files that were linked to the store again. */
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
        // Its files cannot be derived any more; verify reports it.
        if (!(error instanceof DropdockError) && !hasErrno(error, 'ENOENT')) throw error;
      }
    }
  }

  /** Replaces a dangling pivot with the last earlier snapshot that is kept. */
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
    this.repaired.push(`pointed the pivot to ${before}; it named ${current}, which is gone`);
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
    if (this.#shared > 0)
      this.repaired.push(`linked ${this.#shared} files of ${name} to the store again`);
    this.#shared = 0;
  }

  /** Moves away anything that is not a file, which a rename could not replace. */
  #clear(path: string, shown: string): void {
    const kind = this.disk.statIfThere(path)?.kind;
    if (kind === undefined || kind === 'file') return;
    moveToTrash(this.disk, this.request.roots, path, `in-the-way@${basename(path)}`);
    this.repaired.push(`moved away a ${kind} in place of ${shown}`);
  }

  #directories(root: string, below: string, name: Timestamp): void {
    if (below === '.' || this.#seen.has(join(root, below))) return;
    this.#seen.add(join(root, below));
    this.#directories(root, dirname(below), name);
    this.#mode(join(root, below), TREE_DIRECTORY_MODE, `${name}/${below}`);
  }

  /** A web server runs as another user and must be able to read the file. */
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
      // Without this, a thin drop would rely on a bad file in the store; or, after a tree was copied without
      // its hard links and the store swept, a thin drop would be refused although its content is published.
      const good = this.#goodInStore(digest);
      if (good !== undefined && 'content' in file) this.#share(path, good);
      return;
    }
    const stored = this.#goodInStore(digest);
    if (stored === undefined) return;
    ensureDirectory(disk, dirname(path));
    const temporary = this.#temporary(path);
    if ('tagged' in file) {
      // The file of a tag is not shared: nginx makes its ETag from its time.
      const bytes = readFile(disk, stored, MANIFEST_BYTES_MAX);
      replaceFile(disk, path, bytes, temporary, STORED_MODE);
    } else {
      disk.link(stored, temporary);
      disk.rename(temporary, path);
      syncDirectory(disk, dirname(path));
    }
    this.repaired.push(`restored ${shown}`);
  }

  /** After a copy without hard links the same bytes take up space twice. */
  #share(path: string, stored: string): void {
    const { disk } = this;
    const [ours, theirs] = [path, stored].map((each) => disk.stat(each).ino);
    if (ours === theirs) return;
    const temporary = this.#temporary(path);
    try {
      disk.link(stored, temporary);
    } catch (error) {
      // The maximum number of links is reached. Old snapshots keep another file with the same bytes.
      if (hasErrno(error, 'EMLINK')) return;
      throw error;
    }
    // Both files are good, so this needs no sync.
    disk.rename(temporary, path);
    this.#shared++;
  }

  /** Returns the path in the store, restored from a snapshot if necessary; undefined without a good copy. */
  #goodInStore(digest: Digest): string | undefined {
    const { disk } = this;
    const { roots } = this.request;
    const stored = contentPath(roots, digest);
    if (this.#isGood(stored, digest)) return stored;
    const copy = this.#copies(digest).find((path) => this.#isGood(path, digest));
    if (disk.statIfThere(stored) !== undefined) {
      moveToTrash(disk, roots, stored, `damaged@${basename(stored)}`);
      const how = copy === undefined ? 'drop the image again' : 'another copy exists';
      this.repaired.push(`took ${digest} out of the store, its content is damaged; ${how}`);
    }
    if (copy === undefined) return undefined;
    ensureDirectory(disk, dirname(stored));
    disk.link(copy, stored);
    syncDirectory(disk, dirname(stored));
    this.repaired.push(`restored ${digest} in the store from a snapshot`);
    return stored;
  }

  /** Returns every file of the repository's snapshots that should hold this digest. */
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

  /** A path in the same directory, hidden from web servers. */
  #temporary(path: string): string {
    return join(dirname(path), `.${this.request.owner}`);
  }
}

/** Returns undefined for generated texts. */
function digestIn(file: RenderedFile): Digest | undefined {
  if ('content' in file) return file.content;
  return 'tagged' in file ? file.tagged : undefined;
}
