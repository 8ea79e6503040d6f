/** Changes published or stored files, which are read-only, also for an owner that is not root. */
import { chmodSync, statSync, truncateSync, writeFileSync } from 'node:fs';

/** Its mode stays as it was. */
export function overwrite(path: string, content: string | Uint8Array): void {
  whileWritable(path, () => writeFileSync(path, content));
}

/** Cuts a file off, or makes it longer with a hole: what it costs to send that is the same. */
export function resize(path: string, bytes: number): void {
  whileWritable(path, () => truncateSync(path, bytes));
}

function whileWritable(path: string, change: () => void): void {
  const { mode } = statSync(path);
  chmodSync(path, mode | 0o200);
  try {
    change();
  } finally {
    chmodSync(path, mode);
  }
}
