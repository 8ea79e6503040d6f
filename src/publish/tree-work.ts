/** What is to be done to a tree until it holds what was rendered: from nothing, or from what it holds. Pure. */
import { type ContentFile, renderContent, unmovedTags } from '../snapshot/content-files.js';
import type { FileChange, Rendering } from '../snapshot/rendering.js';
import type { StoredSnapshot } from '../snapshot/snapshot-file.js';
import type { Taken } from './take-prepared.js';

export interface TreeWork {
  /** Paths that go first, if they are there. */
  readonly gone: Iterable<string>;
  readonly put: readonly ContentFile[];
  /** A tag that is new or has moved; what is no tag never is. */
  readonly isFresh: (file: ContentFile) => boolean;
}

/** @param stored the last snapshot; its files are kept for tags that did not move */
export function treeWork(
  {
    rendering,
    stored,
  }: { readonly rendering: Rendering; readonly stored: StoredSnapshot | undefined },
  taken: Taken,
): TreeWork {
  const { change } = rendering;
  if (taken && 'steps' in taken && change) {
    return { ...replay([...taken.steps.map((step) => step.change), change]), ...movedBy(change) };
  }
  const content = renderContent(rendering.state, rendering.redirectOci);
  const isFresh = change ? movedBy(change).isFresh : notAmong(unmovedTags(content, stored));
  if (taken === undefined || !('files' in taken)) return { gone: [], put: content, isFresh };
  const gone = new Set(taken.files);
  const put = content.filter((file) => {
    const stays = gone.has(file.path) && !isFresh(file);
    if (stays) gone.delete(file.path);
    return !stays;
  });
  return { gone, put, isFresh };
}

/**
 * The files are put as the last change but one left them: what moved on the way is the last
 * snapshot's file, or a fresh one, never an older one of the same name.
 */
function replay(changes: readonly FileChange[]): Pick<TreeWork, 'gone' | 'put'> {
  const gone = new Set<string>();
  const put = new Map<string, ContentFile>();
  for (const change of changes) {
    for (const path of change.gone) {
      gone.add(path);
      put.delete(path);
    }
    for (const file of change.put) put.set(file.path, file);
  }
  return { gone, put: [...put.values()] };
}

function movedBy({ put }: FileChange): Pick<TreeWork, 'isFresh'> {
  const moved = new Set(put.flatMap((file) => ('tagged' in file ? file.path : [])));
  return { isFresh: ({ path }) => moved.has(path) };
}

function notAmong(unmoved: ReadonlySet<string>): TreeWork['isFresh'] {
  return (file) => 'tagged' in file && !unmoved.has(file.path);
}
