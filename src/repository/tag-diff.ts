/** Compares the tags of two snapshots. Pure. */

/** The digest of each tag. */
export type TagDigests = ReadonlyMap<string, string>;

/** `from` is null for a new tag, `to` is null for a removed tag. */
export interface TagChange {
  readonly tag: string;
  readonly from: string | null;
  readonly to: string | null;
}

/** Each list is sorted by tag. */
export interface TagDiff {
  readonly added: readonly TagChange[];
  readonly moved: readonly TagChange[];
  readonly removed: readonly TagChange[];
}

/** @param before empty for a repository's first snapshot */
export function diffTags(before: TagDigests, after: TagDigests): TagDiff {
  const added: TagChange[] = [];
  const moved: TagChange[] = [];
  const removed: TagChange[] = [];
  for (const [tag, to] of after) {
    const from = before.get(tag) ?? null;
    if (from === null) added.push({ tag, from, to });
    else if (from !== to) moved.push({ tag, from, to });
  }
  for (const [tag, from] of before) {
    if (!after.has(tag)) removed.push({ tag, from, to: null });
  }
  for (const list of [added, moved, removed]) list.sort((a, b) => (a.tag < b.tag ? -1 : 1));
  return { added, moved, removed };
}
