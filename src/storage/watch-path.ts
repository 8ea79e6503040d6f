/** The kernel's watch on one file or directory. */
import { watch } from 'node:fs';

export interface PathWatch {
  close(): void;
}

/**
 * @param onChange it, or an entry of the directory, has changed; may be called very often
 * @throws system errors, ENOENT and ENOSPC (no more watches) among them
 */
export function watchPath(
  path: string,
  { onChange, onError }: { onChange: () => void; onError: (error: Error) => void },
): PathWatch {
  return watch(path, onChange).on('error', onError);
}
