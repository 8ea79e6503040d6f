/**
 * Returns the repositories that a drop of this name may belong to: two if the kind of the drop matters.
 * `app.tar` belongs to `app` as an archive, and to `app.tar` as a directory.
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
