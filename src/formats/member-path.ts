/** Paths inside an archive. Pure. */

/**
 * The path a member is found by: without `./`, and with forward slashes where a tool on Windows wrote
 * backslashes. Undefined where it leads out of the archive.
 */
export function memberPath(path: string): string | undefined {
  const slashed = path.replaceAll('\\', '/');
  return slashed.startsWith('/') ? undefined : joinInside(slashed.split('/'), true);
}

/** Where a link leads that lies in `directory`. Undefined where it leads out of the archive. */
export function linkTarget(directory: readonly string[], link: string): string | undefined {
  return link.startsWith('/') ? undefined : joinInside([...directory, ...link.split('/')], false);
}

function joinInside(parts: readonly string[], refuseUp: boolean): string | undefined {
  const resolved: string[] = [];
  for (const part of parts) {
    if (part === '' || part === '.') continue;
    if (part !== '..') resolved.push(part);
    else if (refuseUp || resolved.pop() === undefined) return undefined;
  }
  return resolved.join('/');
}
