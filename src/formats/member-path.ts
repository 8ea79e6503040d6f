/** Paths inside an archive. Pure. */

/**
 * Normalizes the path of a member: removes `./`, and replaces backslashes written by Windows tools. Undefined
 * if it points outside the archive.
 */
export function memberPath(path: string): string | undefined {
  const slashed = path.replaceAll('\\', '/');
  return slashed.startsWith('/') ? undefined : joinInside(slashed.split('/'), true);
}

/** Resolves a link in `directory`. Undefined if it points outside the archive. */
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
