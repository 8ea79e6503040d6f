/** Finds the type and mount options of the filesystem a path is on. They decide what network clients cache. */
import fs from 'node:fs';

export interface Mount {
  /** The kernel's name: `ext4`, `nfs4`, `ceph`. */
  readonly type: string;
  readonly options: readonly string[];
}

/**
 * Returns undefined when the kernel does not say.
 * @param path absolute
 */
export function mountOf(path: string): Mount | undefined {
  try {
    return findMount(fs.readFileSync('/proc/self/mountinfo', 'utf8'), fs.realpathSync(path));
  } catch {
    return undefined;
  }
}

/** @param text as in proc_pid_mountinfo(5); the last of several mounts on one place is visible */
export function findMount(text: string, path: string): Mount | undefined {
  let found: { place: string; mount: Mount } | undefined;
  for (const line of text.split('\n')) {
    const [own = '', filesystem = ''] = line.split(' - ');
    const [, , , , escaped = '', options = ''] = own.split(' ');
    const [type = '', , more = ''] = filesystem.split(' ');
    const place = escaped.replace(/\\(\d{3})/g, (_, code) =>
      String.fromCharCode(parseInt(code, 8)),
    );
    if (type === '' || !isBelow(path, place)) continue;
    if (found && place.length < found.place.length) continue;
    found = { place, mount: { type, options: [...options.split(','), ...more.split(',')] } };
  }
  return found?.mount;
}

function isBelow(path: string, place: string): boolean {
  return place === '/' || path === place || path.startsWith(`${place}/`);
}

/** Returns true when a client caches what a name points to, regardless of changes by others. */
export function remembersNames({ type, options }: Mount): boolean {
  return /^nfs4?$/.test(type) && !options.includes('lookupcache=none') && !options.includes('noac');
}
