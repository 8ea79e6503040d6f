/** Temporary directories that are removed after the test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];

export function tempDir(base = tmpdir()): string {
  const path = mkdtempSync(join(base, 'dropdock-test-'));
  made.push(path);
  return path;
}

export function removeTempDirs(): void {
  for (const path of [...made]) removeTempDir(path);
}

export function removeTempDir(path: string): void {
  rmSync(path, { recursive: true, force: true });
  made.splice(made.indexOf(path), 1);
}
