/** A disk whose k-th operation fails, or ends the process, or is slow. */
import { type Disk, nodeDisk } from '#src/disk/disk.js';
import { plainPath } from './plain-path.js';

export interface DiskOperation {
  /** Counted from 1. */
  readonly number: number;
  readonly verb: keyof Disk;
  /** The arguments that are paths, joined. */
  readonly paths: string;
}

/** Called before each operation; throws to make it fail. */
export type Interference = (operation: DiskOperation) => void;

export function interfereWith(disk: Disk, interfere: Interference): Disk {
  let number = 0;
  return new Proxy(disk, {
    get(target, verb: keyof Disk) {
      const original = target[verb] as (...given: unknown[]) => unknown;
      return (...given: unknown[]) => {
        const strings = given.filter((each) => typeof each === 'string');
        const paths = strings.map(plainPath).join(' ');
        interfere({ number: ++number, verb, paths });
        return original.apply(target, given);
      };
    },
  });
}

/** Counts the operations of a run. */
export function countingDisk(): { disk: Disk; count: () => number } {
  let count = 0;
  const disk = interfereWith(nodeDisk, () => {
    count++;
  });
  return { disk, count: () => count };
}

/** What Node throws when the system refuses. */
export function systemError(code: string, { verb, paths }: DiskOperation): Error {
  return Object.assign(new Error(`${code}: made to fail, ${verb} '${paths}'`), {
    code,
    errno: -1,
    syscall: verb,
    path: paths,
  });
}
