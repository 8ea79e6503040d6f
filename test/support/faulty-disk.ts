/** A disk whose k-th operation fails, ends the process, or is slow. */
import { type Disk, nodeDisk } from '#src/storage/disk.js';
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

/**
 * A file whose closing fails is closed all the same, as Linux does it.
 * @throws of the disk it returns: an error without a code, a bug, when a file is closed twice
 */
export function interfereWith(disk: Disk, interfere: Interference): Disk {
  let number = 0;
  const open = new Set<unknown>();
  return new Proxy(disk, {
    get(target, verb: keyof Disk) {
      const original = target[verb] as (...given: unknown[]) => unknown;
      return (...given: unknown[]) => {
        const strings = given.filter((each) => typeof each === 'string');
        const paths = strings.map(plainPath).join(' ');
        const [fd] = given;
        if (verb === 'close' && !open.delete(fd)) throw new Error(`${fd} is not open (any more)`);
        try {
          interfere({ number: ++number, verb, paths });
        } catch (error) {
          if (verb === 'close') original.apply(target, given);
          throw error;
        }
        const result = original.apply(target, given);
        if (verb === 'open') open.add(result);
        return result;
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
