/**
 * Opens files below a directory that another user may change at any time. Each component is opened relative
 * to the descriptor of its parent (through /proc/self/fd, because Node has no openat) and without following
 * links, so nothing outside the directory can be reached.
 */
import { DropdockError, hasErrno } from '../errors.js';
import type { Disk, Stat } from './disk.js';

/** An open regular file, with its stat at that time. */
export interface OpenedFile {
  readonly fd: number;
  readonly stat: Stat;
}

export class InsideDirectory {
  readonly #directories = new Map<string, number>();

  private constructor(
    readonly disk: Disk,
    /** The path as given. */
    readonly root: string,
  ) {
    this.#directories.set('', disk.open(root, 'directory'));
  }

  /** Runs `use` with the directory open. Closes everything it opened, also after a promise has settled. */
  static use<T>(disk: Disk, path: string, use: (inside: InsideDirectory) => T): T {
    const inside = new InsideDirectory(disk, path);
    const close = () => {
      for (const fd of inside.#directories.values()) disk.close(fd);
    };
    let result: T;
    try {
      result = use(inside);
    } catch (error) {
      close();
      throw error;
    }
    if (result instanceof Promise) return result.finally(close) as T;
    close();
    return result;
  }

  /**
   * Same as `use`, for a directory below `root`. Returns undefined when there is none.
   * @throws path.outside for a link in the path
   */
  static useBelow<T>(
    disk: Disk,
    root: string,
    path: string,
    use: (inside: InsideDirectory) => T,
  ): T | undefined {
    return InsideDirectory.use(disk, root, (outer) => {
      const fd = outer.#reachable(path, () => outer.#directory(path));
      return fd === undefined ? undefined : InsideDirectory.use(disk, `/proc/self/fd/${fd}/.`, use);
    });
  }

  /** Returns the stat of the open directory, even if another one has its name now. */
  statSelf(): Stat {
    return this.disk.statOpen(this.#directory(''));
  }

  /**
   * Returns undefined when there is nothing.
   * @throws path.outside for a link in the path
   */
  stat(path: string): Stat | undefined {
    return this.#at(path, (full) => this.disk.stat(full));
  }

  /**
   * Opens a regular file, which the caller closes. Returns undefined when there is nothing.
   * @throws path.outside, file.type
   */
  open(path: string, mode: 'read' | 'update' = 'read'): OpenedFile | undefined {
    const fd = this.#at(path, (full) => this.disk.open(full, mode));
    if (fd === undefined) return undefined;
    const stat = this.disk.statOpen(fd);
    if (stat.kind === 'file') return { fd, stat };
    this.disk.close(fd);
    throw new DropdockError('file.type', `'${path}' is not a regular file.`, { path });
  }

  list(path: string): ReturnType<Disk['list']> | undefined {
    return this.#at(path === '' ? '.' : `${path}/.`, (full) => this.disk.list(full));
  }

  /** Links a file to an outside path. The file may have been replaced since it was opened. */
  linkTo(path: string, destination: string): void {
    this.#at(path, (full) => this.disk.link(full, destination));
  }

  /**
   * Calls `use` with a path that reaches an entry without links, for operations that have no method here.
   * Returns undefined when a parent does not exist.
   */
  reach<T>(path: string, use: (full: string) => T): T | undefined {
    return this.#at(path, use);
  }

  #at<T>(path: string, use: (full: string) => T): T | undefined {
    return this.#reachable(path, () => {
      const slash = path.lastIndexOf('/');
      const directory = this.#directory(slash < 0 ? '' : path.slice(0, slash));
      return use(`/proc/self/fd/${directory}/${path.slice(slash + 1)}`);
    });
  }

  #reachable<T>(path: string, reach: () => T): T | undefined {
    if (path.startsWith('/') || path.split('/').includes('..')) {
      throw new DropdockError('path.outside', `The path '${path}' points outside the drop.`, {
        path,
      });
    }
    try {
      return reach();
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) return undefined;
      if (hasErrno(error, 'ELOOP', 'ENOTDIR')) {
        throw new DropdockError(
          'path.outside',
          `The path '${path}' contains a symbolic link.`,
          { path },
          error,
        );
      }
      if (hasErrno(error, 'ENXIO')) {
        throw new DropdockError('file.type', `'${path}' is not a regular file.`, { path }, error);
      }
      throw error;
    }
  }

  #directory(path: string): number {
    const known = this.#directories.get(path);
    if (known !== undefined) return known;
    const slash = path.lastIndexOf('/');
    const parent = this.#directory(slash < 0 ? '' : path.slice(0, slash));
    const fd = this.disk.open(`/proc/self/fd/${parent}/${path.slice(slash + 1)}`, 'directory');
    this.#directories.set(path, fd);
    return fd;
  }
}
