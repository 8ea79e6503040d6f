/** What a change made by hand makes of a repository's state. Pure: values in, values out. */
import { DropdockError } from '../errors.js';
import type { Tag } from '../image/names.js';
import { servesTheSame } from './merge.js';
import { type RepositoryState, withBlobsOf } from './state.js';

/** Takes tags away; what they led to goes with them unless something else leads there. @throws tag.unknown */
export function untag(state: RepositoryState, gone: readonly string[]): RepositoryState {
  const tags = new Map(state.tags);
  for (const tag of gone) {
    if (tags.delete(tag as Tag)) continue;
    throw new DropdockError('tag.unknown', `${state.repository} has no tag ${tag}.`, { path: tag });
  }
  return { ...state, tags };
}

/**
 * Whether somebody who rolls back may mean this: what serves nothing else than the current one (what came
 * back after a removal, what a cleaning made anew) is passed over, and so is a removal, which nobody means
 * by "back", and what another repository had under this id. The same for every target.
 */
export function leadsBack(current: RepositoryState, earlier: RepositoryState): boolean {
  if (earlier.repository !== current.repository || earlier.removed) return false;
  // The settings alone say what is converted.
  const again = { ...restore(current, earlier), conversions: current.conversions };
  return !servesTheSame(again, current);
}

/** Nothing is left but what the grace period carries on. */
export function removeAll(state: RepositoryState): RepositoryState {
  return { ...state, tags: new Map(), untagged: new Map(), removed: true };
}

/** What an earlier snapshot was becomes the truth again; `settle` carries on what came since. */
export function restore(state: RepositoryState, kept: RepositoryState): RepositoryState {
  const manifests = new Map(state.manifests);
  for (const [digest, record] of kept.manifests) {
    // A layer that was left out then may have come since: what is served does not shrink.
    const now = state.manifests.get(digest);
    const isOther = now?.mediaType !== record.mediaType;
    manifests.set(digest, isOther ? record : withBlobsOf(now, record));
  }
  return { ...kept, carried: state.carried, manifests };
}
