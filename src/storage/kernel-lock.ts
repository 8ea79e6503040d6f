/**
 * A lock of the kernel on an open file description (fcntl F_OFD_SETLK). It is exclusive among all processes
 * of a host (and among all hosts, where NFSv4 forwards it), is kept while its process is stopped, and is
 * released when the process ends. The only file that uses fs-native-extensions.
 *
 * That package has binaries for x86-64 and arm64. On other platforms there is no kernel lock; safety between
 * processes then rests on the shared lock and the checks before the flip.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { hasErrno } from '../errors.js';

export interface KernelLock {
  release(): void;
}

interface Binding {
  tryLock(fd: number): boolean;
}

const binding: Binding | undefined = loadBinding();

function loadBinding(): Binding | undefined {
  try {
    return createRequire(import.meta.url)('fs-native-extensions') as Binding;
  } catch {
    return undefined;
  }
}

/**
 * Returns 'unsupported' when the platform or the filesystem has no such locks.
 * @param isWanted false on a tree that several hosts share, where such locks mislead
 */
export function tryKernelLock(
  path: string,
  isWanted: boolean,
): KernelLock | 'busy' | 'unsupported' {
  if (binding === undefined || !isWanted) return 'unsupported';
  const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW;
  const fd = fs.openSync(path, flags, 0o644);
  try {
    if (binding.tryLock(fd)) return { release: closeOnce(fd) };
  } catch (error) {
    fs.closeSync(fd);
    const { code } = error as { code?: string };
    if (['ENOLCK', 'EOPNOTSUPP', 'ENOTSUP', 'EINVAL', 'ENOSYS'].includes(code ?? '')) {
      return 'unsupported';
    }
    // The binding does not mark its errors as those of a system call; a network lock server may return EIO.
    throw Object.assign(error as Error, { syscall: 'fcntl', path });
  }
  fs.closeSync(fd);
  return 'busy';
}

/** After a close the descriptor number may belong to another file. */
function closeOnce(fd: number): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) fs.closeSync(fd);
    isOpen = false;
  };
}

/** Returns true when the file exists and no living process holds its lock. */
export function isUnlocked(path: string): boolean | 'unsupported' {
  try {
    const lock = tryKernelLock(path, true);
    if (lock === 'unsupported') return lock;
    if (lock === 'busy') return false;
    lock.release();
    return true;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return true;
    throw error;
  }
}

export const hasKernelLocks = binding !== undefined;
