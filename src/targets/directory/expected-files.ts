/** Renders the files that a snapshot must hold from its own description. Used by verify and repair. */
import { join } from 'node:path';
import type { RepositoryId } from '../../image/names.js';
import { type RenderedFile, redirectFileName, renderSnapshot } from '../../repository/render.js';
import type { StoredSnapshot } from '../../repository/snapshot-file.js';
import type { Timestamp } from '../../repository/timestamp.js';
import type { Disk } from '../../storage/disk.js';
import { readFile } from '../../storage/durable.js';
import { snapshotPath, type TreeRoots } from '../../storage/tree-paths.js';
import { readSnapshot } from './pivot.js';

/** Contents of the redirect file that come from the settings at that time and not from the snapshot. */
export interface RedirectSettings {
  readonly urlTemplate: string;
  readonly protected: boolean;
}

/**
 * @param fallback used when the redirect file cannot be read
 * @throws layout.unsafe when the description cannot be read; ENOENT when there is none
 */
export function expectedFiles(
  disk: Disk,
  roots: TreeRoots,
  id: RepositoryId,
  name: Timestamp,
  fallback: RedirectSettings,
): RenderedFile[] {
  return renderExpected(disk, roots, { id, name }, readSnapshot(disk, roots, id, name), fallback);
}

/** The same, for a description that was already read. */
export function renderExpected(
  disk: Disk,
  roots: TreeRoots,
  { id, name }: { readonly id: RepositoryId; readonly name: Timestamp },
  stored: StoredSnapshot,
  fallback: RedirectSettings,
): RenderedFile[] {
  const path = join(snapshotPath(roots, id, name), redirectFileName(id));
  const settings = redirectSettings(disk, path) ?? fallback;
  return renderSnapshot(stored.state, { ...stored, ...settings });
}

function redirectSettings(disk: Disk, path: string): RedirectSettings | undefined {
  if (disk.statIfThere(path) === undefined) return undefined;
  try {
    const text = readFile(disk, path, Number.MAX_SAFE_INTEGER).toString('utf8');
    const document = JSON.parse(text) as { url?: unknown; protected?: unknown };
    const { url, protected: isProtected } = document;
    if (typeof url !== 'string' || typeof isProtected !== 'boolean') return undefined;
    return { urlTemplate: url, protected: isProtected };
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
