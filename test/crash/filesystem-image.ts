/**
 * A real filesystem in a file, mounted through a loop device. A copy of that file, taken while the
 * filesystem is in use, is the disk content after a power cut: it lacks what the kernel had not written
 * yet. Needs root and loop devices.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type FilesystemType = 'ext4' | 'xfs' | 'btrfs';
export const FILESYSTEMS: readonly FilesystemType[] = ['ext4', 'xfs', 'btrfs'];

/** Bytes; the least that mkfs makes, in sparse files. */
const SIZE: Record<FilesystemType, number> = { ext4: 48, xfs: 320, btrfs: 160 };
const MKFS: Record<FilesystemType, readonly string[]> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
};

function run(name: string, ...given: readonly string[]): string {
  return execFileSync(name, given, { stdio: ['ignore', 'pipe', 'pipe'] }).toString('utf8');
}

/** Undefined where images of this type can be mounted here; else why not. */
function whyNoImages(type: FilesystemType): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync('/dev/loop-control')) return 'needs loop devices';
  try {
    run('which', `mkfs.${type}`);
  } catch {
    return `needs mkfs.${type}`;
  }
  return undefined;
}

/** For a suite or a test: skips it where images cannot be mounted, or fails it in CI. */
export function needImages(context: Mocha.Context, type: FilesystemType): void {
  const why = whyNoImages(type);
  if (why === undefined) return;
  // An ordinary user cannot mount; the tests are run as root as well.
  if (process.env.CI && why !== 'needs root') throw new Error(why);
  console.info(`      skipped: ${why}`);
  context.skip();
}

export class FilesystemImage {
  #mounted = false;

  private constructor(
    readonly type: FilesystemType,
    readonly place: string,
    readonly file: string,
  ) {}

  /** In memory where that can be had: a disk that writes at leisure is not what is tried here. */
  static make(type: FilesystemType): FilesystemImage {
    const base = !process.env.TMPDIR && existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    const place = mkdtempSync(join(base, 'dropdock-image-'));
    const file = join(place, 'image');
    run('truncate', '-s', `${SIZE[type]}M`, file);
    const [mkfs = '', ...given] = MKFS[type];
    run(mkfs, ...given, file);
    const image = new FilesystemImage(type, place, file);
    image.mount();
    return image;
  }

  get mountPoint(): string {
    return join(this.place, 'mnt');
  }

  mount(): void {
    mkdirSync(this.mountPoint, { recursive: true });
    const options = this.type === 'xfs' ? 'loop,nouuid' : 'loop';
    run('mount', '-t', this.type, '-o', options, this.file, this.mountPoint);
    this.#mounted = true;
  }

  unmount(): void {
    if (this.#mounted) run('umount', this.mountPoint);
    this.#mounted = false;
  }

  /** Everything so far is on the disk. */
  sync(): void {
    run('sync', '-f', this.mountPoint);
  }

  /**
   * Brings the metadata of all there is to the disk and leaves the data of files in memory, as the
   * filesystem may do at any moment of its own accord: another file is written and synced.
   */
  commitMetadata(): void {
    const fd = openSync(join(this.mountPoint, 'unrelated'), 'a');
    writeSync(fd, 'x');
    fsyncSync(fd);
    closeSync(fd);
  }

  /**
   * The filesystem gives up, as it does when its disk fails: every call gets EIO until it is mounted
   * again. Not for btrfs. @param writes what it had not written of its log yet
   */
  shutDown({ writes }: { readonly writes: boolean }): void {
    run('xfs_io', '-x', '-c', writes ? 'shutdown -f' : 'shutdown', this.mountPoint);
  }

  /** What the disk holds now, as an image of its own that is not mounted. */
  cut(name: string): FilesystemImage {
    const place = join(this.place, name);
    mkdirSync(place);
    run('cp', '--sparse=always', this.file, join(place, 'image'));
    return new FilesystemImage(this.type, place, join(place, 'image'));
  }

  remove(): void {
    this.unmount();
    rmSync(this.place, { recursive: true, force: true });
  }
}
