/** Watches one file or directory through the kernel. */
import { watch } from 'node:fs';

export interface PathWatch {
  close(): void;
}

/**
 * @param onChange called when it, or an entry of the directory, has changed; may be called very often
 * @throws system errors, such as ENOENT and ENOSPC (no more watches)
 */
export function watchPath(
  path: string,
  { onChange, onError }: { onChange: () => void; onError: (error: Error) => void },
): PathWatch {
  return watch(path, onChange).on('error', onError);
}
