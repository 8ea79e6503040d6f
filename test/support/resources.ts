/** The resources that a process and a filesystem hold at one moment, as the kernel counts them. */
import { readdirSync, readFileSync, statfsSync } from 'node:fs';

export interface Resources {
  /** Resident memory of the process (MiB). */
  readonly memory: number;
  /** Open descriptors of the process. */
  readonly descriptors: number;
  /** Names in use on the filesystem; on a tmpfs each hard link counts. */
  readonly inodes: number;
  /** In use on the filesystem (MiB). */
  readonly disk: number;
}

/** @param path on the filesystem, which should be a small one of its own */
export function resourcesOf(pid: number, path: string): Resources {
  const { bsize, blocks, bfree, files, ffree } = statfsSync(path);
  const [, resident = '0'] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ');
  const mib = (bytes: number) => Math.round((bytes / 1024 / 1024) * 10) / 10;
  return {
    memory: mib(Number(resident) * 4096),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    inodes: files - ffree,
    disk: mib((blocks - bfree) * bsize),
  };
}
