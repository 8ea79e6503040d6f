/**
 * The location of a soak test: a separate filesystem whose content can be counted, that can be filled up,
 * and whose directories can be made unwritable even for root.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from '../support/temp-dir.js';

const isRoot = process.getuid?.() === 0;

/** Directories that a publish writes to, one after the other. */
const WRITTEN = ['published/web', 'published/app', 'state/history', 'state/content/sha256'];

export class SoakPlace {
  readonly #mountPoint = tempDir();
  readonly root = join(this.#mountPoint, 'root');
  #undo: (() => void) | undefined;

  constructor(mebibytes: number) {
    const options = `size=${mebibytes}m,nr_inodes=2m`;
    if (isRoot) execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', this.#mountPoint]);
    mkdirSync(join(this.root, 'inbox'), { recursive: true });
  }

  /** No room for anybody, or, for who may not mount, no fault at all. */
  fill(): void {
    if (!isRoot) return;
    const filler = join(this.#mountPoint, 'filler');
    this.#undo = () => rmSync(filler, { force: true });
    const { bavail, bsize } = statfsSync(this.#mountPoint);
    const piece = Buffer.alloc(8 * 1024 * 1024);
    try {
      for (let left = bavail * bsize; left > 0; left -= piece.length) {
        writeFileSync(filler, piece.subarray(0, Math.min(left, piece.length)), { flag: 'a' });
      }
    } catch (error) {
      // The daemon writes too: it may have taken the last of it.
      if ((error as { code?: string }).code !== 'ENOSPC') throw error;
    }
  }

  /** @param which any number; it chooses the directory */
  makeUnwritable(which: number): void {
    const path = join(this.root, WRITTEN[which % WRITTEN.length] ?? '');
    if (isRoot) {
      // Permissions do not bind root; a read-only mount does.
      execFileSync('mount', ['--bind', path, path]);
      this.#undo = () => execFileSync('umount', ['--lazy', path]);
      execFileSync('mount', ['-o', 'remount,ro,bind', path]);
    } else {
      chmodSync(path, 0o555);
      this.#undo = () => chmodSync(path, 0o755);
    }
  }

  /** The weather clears. */
  relieve(): void {
    this.#undo?.();
    this.#undo = undefined;
  }

  remove(): void {
    this.relieve();
    if (isRoot) execFileSync('umount', ['--lazy', this.#mountPoint]);
  }
}
