/** Reads everything published and stored, and reports damage. */
import { join, relative } from 'node:path';
import { DropdockError, faultOf, hasErrno } from '../../errors.js';
import { type Digest, digestAlgorithm, isDigest } from '../../image/digest.js';
import { MANIFEST_BYTES_MAX } from '../../image/limits.js';
import { digestOfBytes } from '../../image/manifest-digest.js';
import { manifestKind } from '../../image/media-types.js';
import type { RepositoryId } from '../../image/names.js';
import type { VerifyFinding, VerifyResult } from '../../publisher/target.js';
import { checkRecord, type RecordProblem } from '../../repository/check-record.js';
import { type RenderedFile, SNAPSHOT_FILE } from '../../repository/render.js';
import type { ManifestRecord, RepositoryState } from '../../repository/state.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';
import type { Disk, Stat } from '../../storage/disk.js';
import { listIfThere, readFile, readLinkIfThere } from '../../storage/durable.js';
import { digestOfFile } from '../../storage/hash-file.js';
import { job } from '../../storage/job.js';
import {
  appLinkPath,
  appLinkTarget,
  contentDirectory,
  contentPath,
  snapshotPath,
  type TreeRoots,
  trashDirectory,
  trashPath,
} from '../../storage/tree-paths.js';
import { renderExpected } from './expected-files.js';
import { ifThere, listSnapshots, readPivot, readSnapshot } from './pivot.js';
import { eachStored } from './sweep.js';

export interface RepositoryCheck extends VerifyResult {
  /** Findings about links, which a running publish may be about to place. */
  readonly links: readonly VerifyFinding[];
}

/**
 * Checks the links of a repository and every file of its kept snapshots. Publishes and cleanings may run
 * meanwhile.
 */
export const verifyRepository = job(
  'background',
  import.meta.url,
  function verifyRepository(disk: Disk, { roots, id }: VerifyRequest): RepositoryCheck {
    const links = verifyLinks(disk, { roots, id });
    const check = new SnapshotCheck(disk, roots, id);
    for (const name of listSnapshots(disk, roots, id)) {
      if (isTimestamp(name)) check.snapshot(name);
      else check.find('foreign', join(roots.published, 'master', id, name), 'no snapshot');
    }
    const findings = [...links.findings, ...check.findings];
    return { findings, files: check.files, links: links.findings };
  },
);

export interface VerifyRequest {
  readonly roots: TreeRoots;
  readonly id: RepositoryId;
}

/** Checks the pivot and the link for Crane of a repository. */
export const verifyLinks = job(
  'background',
  import.meta.url,
  function verifyLinks(disk: Disk, { roots, id }: VerifyRequest): VerifyResult {
    const app = appLinkPath(roots, id);
    const findings: VerifyFinding[] = [];
    const find = (problem: VerifyFinding['problem'], path: string, detail: string) =>
      findings.push({ problem, path: relative(roots.published, path), detail });
    try {
      const current = readPivot(disk, roots, id);
      const link = readLinkIfThere(disk, app);
      if (current === null) {
        if (link !== undefined) find('wrong-link', app, 'points to a repository that is gone');
        return { findings, files: 0 };
      }
      if (link !== appLinkTarget(id)) find('wrong-link', app, `points to ${link ?? 'nothing'}`);
      const path = snapshotPath(roots, id, current);
      // If the pivot has moved meanwhile, a cleaning may have removed the snapshot.
      if (!disk.statIfThere(path) && readPivot(disk, roots, id) === current) {
        find('missing', path, 'the pivot names a snapshot that is missing');
      }
    } catch (error) {
      if (!(error instanceof DropdockError)) throw error;
      find('wrong-link', String(error.details.path ?? app), error.message);
    }
    return { findings, files: 0 };
  },
);

/** Checks that the content of each file in the store matches its name. */
export const verifyContent = job(
  'background',
  import.meta.url,
  function verifyContent(disk: Disk, { roots }: { readonly roots: TreeRoots }): VerifyResult {
    const findings: VerifyFinding[] = [];
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
      const found = ifThere(() => digestOfFile(disk, path, digestAlgorithm(digest)));
      // Swept meanwhile.
      if (found === undefined) return;
      files++;
      if (found !== digest) {
        findings.push({
          problem: 'damaged',
          path: shown,
          detail: `its content has the digest ${found}`,
        });
      }
    });
    return { findings, files };
  },
);

/** A cleaning empties the trash faster than this (ms). */
const TRASH_MS = 60_000;

/**
 * Reports files whose deletion was not finished. They take up space until the next start or `--repair`
 * deletes them.
 */
export const verifyTrash = job(
  'background',
  import.meta.url,
  function verifyTrash(
    disk: Disk,
    { roots, nowMs }: { readonly roots: TreeRoots; readonly nowMs: number },
  ): VerifyResult {
    const findings = listIfThere(disk, trashDirectory(roots)).flatMap(
      ({ name }): VerifyFinding[] => {
        const path = trashPath(roots, name);
        const stat = disk.statIfThere(path);
        if (stat === undefined || nowMs - stat.ctimeMs < TRASH_MS) return [];
        const detail = 'its deletion was not finished';
        return [{ problem: 'leftover', path: relative(roots.state, path), detail }];
      },
    );
    return { findings, files: 0 };
  },
);

/** For a redirect file that cannot be read; it is reported in any case. */
const NO_SETTINGS = { urlTemplate: '', protected: false };

class SnapshotCheck implements VerifyResult {
  findings: VerifyFinding[] = [];
  files = 0;
  /** Digests by file. Snapshots share files, and each is read once. */
  readonly #digests = new Map<string, Digest>();
  /** Digests known to be in the store, or already reported missing. */
  readonly #storeSeen = new Set<Digest>();
  readonly #judged = new Map<Digest, { said: string; problems: readonly RecordProblem[] }>();

  constructor(
    readonly disk: Disk,
    readonly roots: TreeRoots,
    readonly id: RepositoryId,
  ) {}

  find(problem: VerifyFinding['problem'], path: string, detail: string): void {
    this.findings.push({ problem, path: relative(this.roots.published, path), detail });
  }

  /**
   * A snapshot is removed by one rename, and its name is not reused. If it exists after the check, it existed
   * all the time, and its missing files are really missing.
   */
  snapshot(name: Timestamp): void {
    const { disk, roots, id } = this;
    const root = snapshotPath(roots, id, name);
    const [before, stored] = [this.findings, new Set(this.#storeSeen)];
    this.findings = [];
    this.#snapshot(root, name);
    const isGone = this.findings.length > 0 && disk.statIfThere(root) === undefined;
    if (!isGone) this.findings = [...before, ...this.findings];
    else {
      this.findings = before;
      // Content missing with the removed snapshot may really be missing from another one.
      this.#storeSeen.clear();
      for (const digest of stored) this.#storeSeen.add(digest);
    }
  }

  #snapshot(root: string, name: Timestamp): void {
    const { disk, roots, id } = this;
    let files: RenderedFile[];
    let state: RepositoryState;
    try {
      const stored = readSnapshot(disk, roots, id, name);
      files = renderExpected(disk, roots, { id, name }, stored, NO_SETTINGS);
      state = stored.state;
    } catch (error) {
      if (!(error instanceof DropdockError) && !hasErrno(error, 'ENOENT')) throw error;
      this.find('unreadable', root, (error as Error).message);
      return;
    }
    for (const file of files) {
      const checked = ifThere(() => this.#file(root, file));
      if (checked === undefined) this.find('missing', join(root, file.path), 'not there');
    }
    this.#records(root, state);
    this.#strangers(root, new Set(files.map(({ path }) => path)));
  }

  /**
   * @throws ENOENT
   * @returns true when it was checked
   */
  #file(root: string, file: RenderedFile): true {
    const path = join(root, file.path);
    const stat = this.disk.statIfThere(path);
    if (stat?.kind !== 'file') {
      this.find('missing', path, stat ? `a ${stat.kind} is in its place` : 'not there');
      return true;
    }
    this.#readable(path, stat.mode, 0o444);
    if ('text' in file) {
      const same =
        readFile(this.disk, path, Number.MAX_SAFE_INTEGER).toString('utf8') === file.text;
      if (!same) this.find('damaged', path, 'does not match the description of its snapshot');
    } else {
      const digest = 'content' in file ? file.content : file.tagged;
      const found = this.#digestOf(path, stat, digest);
      if (found !== digest) this.find('damaged', path, `its content has the digest ${found}`);
      this.#stored(digest);
    }
    return true;
  }

  /**
   * Compares the records of manifests with their bytes, which clients use. Missing and damaged files were
   * already reported.
   */
  #records(root: string, { tags, manifests }: RepositoryState): void {
    for (const [tag, { digest }] of tags) {
      if (manifests.has(digest)) continue;
      this.find(
        'missing',
        join(root, SNAPSHOT_FILE),
        `the tag ${tag} points to ${digest}, which is missing`,
      );
    }
    for (const [digest, record] of manifests) {
      const path = join(root, 'manifests', manifestKind(record.mediaType) ?? 'unknown', digest);
      for (const { problem, blob, detail } of this.#recordProblems(path, digest, record)) {
        this.find(problem, blob === undefined ? path : join(root, 'blobs', blob), detail);
      }
    }
  }

  /** Most snapshots have the same record of a manifest. Each record is checked once. */
  #recordProblems(path: string, digest: Digest, record: ManifestRecord): readonly RecordProblem[] {
    const said = JSON.stringify(record);
    const known = this.#judged.get(digest);
    if (known?.said === said) return known.problems;
    const bytes = this.#readIfThere(path);
    const stored = record.stored ?? digest;
    if (bytes === undefined || digestOfBytes(digestAlgorithm(stored), bytes) !== stored) return [];
    const problems = checkRecord(digest, record, bytes);
    this.#judged.set(digest, { said, problems });
    return problems;
  }

  #readIfThere(path: string): Buffer | undefined {
    try {
      return readFile(this.disk, path, MANIFEST_BYTES_MAX);
    } catch (error) {
      const isNoManifest =
        hasErrno(error, 'ENOENT', 'EISDIR', 'ELOOP') || faultOf(error) === 'content';
      if (isNoManifest) return undefined;
      throw error;
    }
  }

  /** A thin drop can leave out published content only when the store has it, too. */
  #stored(digest: Digest): void {
    const path = contentPath(this.roots, digest);
    if (this.#storeSeen.has(digest)) return;
    this.#storeSeen.add(digest);
    if (this.disk.statIfThere(path) !== undefined) return;
    const detail = 'a snapshot has it, but the store does not';
    this.findings.push({ problem: 'missing', path: relative(this.roots.state, path), detail });
  }

  /** A web server runs as another user. */
  #readable(path: string, mode: number, wanted: number): void {
    if ((mode & wanted) === wanted) return;
    this.find('unreadable', path, `its mode is ${mode.toString(8)}: a web server cannot read it`);
  }

  #digestOf(path: string, { dev, ino, size, mtimeMs }: Stat, expected: Digest): Digest {
    const algorithm = digestAlgorithm(expected);
    // The inode number of a deleted file is reused.
    const key = `${algorithm}:${dev}:${ino}:${size}:${mtimeMs}`;
    const known = this.#digests.get(key);
    if (known) return known;
    const digest = digestOfFile(this.disk, path, algorithm);
    this.#digests.set(key, digest);
    this.files++;
    return digest;
  }

  #strangers(root: string, expected: ReadonlySet<string>, below = ''): void {
    const itself = this.disk.statIfThere(join(root, below));
    if (itself?.kind === 'directory') this.#readable(join(root, below), itself.mode, 0o555);
    for (const { name, kind } of listIfThere(this.disk, join(root, below))) {
      const path = join(below, name);
      if (kind === 'directory') this.#strangers(root, expected, path);
      else if (!expected.has(path))
        this.find('foreign', join(root, path), 'does not belong to this snapshot');
    }
  }
}
