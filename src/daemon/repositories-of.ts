/**
 * Whose a drop may be, by its name. Whether it is a directory or an archive is not known here, so it
 * may be both: `app.tar` is of `app`, or a directory and of `app.tar`.
 */
import { parseDropName, type RepositoryName } from '../image/names.js';

export function repositoriesOf(path: string): RepositoryName[] {
  const names = [true, false].map((isFile) => {
    try {
      return parseDropName(path, isFile).repository;
    } catch {
      return undefined;
    }
  });
  return names[0] === undefined ? [] : [...new Set(names.filter((name) => name !== undefined))];
}
