/** On what kind of filesystem a path lies, and how that is mounted: what clients of a network remember. */
import fs from 'node:fs';

export interface Mount {
  /** As the kernel calls it: `ext4`, `nfs4`, `ceph`. */
  readonly type: string;
  readonly options: readonly string[];
}

/** Undefined where the kernel does not tell. @param path absolute */
export function mountOf(path: string): Mount | undefined {
  try {
    return findMount(fs.readFileSync('/proc/self/mountinfo', 'utf8'), fs.realpathSync(path));
  } catch {
    return undefined;
  }
}

/** @param text as in proc_pid_mountinfo(5); of several mounts on one place the last is seen */
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

/** True where a client goes on believing for a while what a name led to, whatever others do. */
export function remembersNames({ type, options }: Mount): boolean {
  return /^nfs4?$/.test(type) && !options.includes('lookupcache=none') && !options.includes('noac');
}
