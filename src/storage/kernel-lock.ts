/**
 * A lock the kernel holds: on an open file description (fcntl F_OFD_SETLK), so it is exclusive
 * among all processes of one host (and of all hosts where NFSv4 passes it on), is kept while its
 * process is stopped, and is gone the moment its process is. The only door to fs-native-extensions.
 *
 * That package ships binaries for x86-64 and arm64. Elsewhere there is no kernel lock, and safety
 * between processes rests on the shared lock and the checks before the flip alone.
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
 * 'unsupported' where neither this machine nor the filesystem has such locks.
 * @param isWanted false on a tree that several hosts share and where such locks mislead
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
    // The binding does not say that it was a call that failed; a network's lock server may (EIO).
    throw Object.assign(error as Error, { syscall: 'fcntl', path });
  }
  fs.closeSync(fd);
  return 'busy';
}

/** A number may be another file's by the time it is closed again. */
function closeOnce(fd: number): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) fs.closeSync(fd);
    isOpen = false;
  };
}

/** True when the file is there and no living process holds its lock. */
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
