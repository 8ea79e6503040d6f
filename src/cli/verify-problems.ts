/**
 * Groups the findings of a verification: one damaged blob is found in the store and in every kept snapshot,
 * and is one problem. Pure.
 */
import { type Digest, isDigest } from '../image/digest.js';
import type { VerifyFinding } from '../publisher/target.js';
import { closure, type RepositoryState } from '../repository/state.js';

export interface Problem extends Pick<VerifyFinding, 'problem' | 'detail'> {
  /** The content that is damaged or missing; undefined for another problem. */
  readonly digest: Digest | undefined;
  readonly paths: readonly string[];
}

/** A repository whose current snapshot needs the content, and its tags that do. */
export interface NeededBy {
  readonly repository: string;
  readonly tags: readonly string[];
}

/** Returns one problem for all findings about the same content, in the order of the findings. */
export function groupFindings(findings: readonly VerifyFinding[]): Problem[] {
  const groups = new Map<string, VerifyFinding[]>();
  for (const [at, finding] of findings.entries()) {
    const digest = digestOf(finding);
    const key = digest ?? String(at);
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  return [...groups.values()].flatMap((all) => {
    const [first] = all;
    if (first === undefined) return [];
    const { problem, detail } = first;
    return { problem, detail, digest: digestOf(first), paths: all.map(({ path }) => path) };
  });
}

/** Only content that is dropped again: a wrong mode or a strange file is no matter of the content. */
function digestOf({ problem, path }: VerifyFinding): Digest | undefined {
  if (problem !== 'damaged' && problem !== 'missing') return undefined;
  const named = /(sha256|sha512)[:/](?:[0-9a-f]{2}\/)?([0-9a-f]{64,128})$/.exec(path);
  const digest = `${named?.[1]}:${named?.[2]}`;
  return isDigest(digest) ? digest : undefined;
}

/** Returns the tags that need this content, in the current snapshots of these repositories. */
export function neededBy(digest: Digest, states: readonly RepositoryState[]): NeededBy[] {
  return states.flatMap((state) => {
    const tags = [...state.tags].flatMap(([tag, root]) =>
      needs(state, root.digest, digest) ? [tag] : [],
    );
    return tags.length === 0 ? [] : [{ repository: state.repository, tags }];
  });
}

function needs({ manifests, conversions }: RepositoryState, root: Digest, digest: Digest): boolean {
  return [...closure([root], manifests)].some((each) => {
    const record = manifests.get(each);
    return (
      each === digest ||
      record?.stored === digest ||
      conversions.get(each) === digest ||
      record?.blobs.some((blob) => blob.digest === digest)
    );
  });
}

const TAGS_SHOWN = 10;

/**
 * Returns the lines for a problem.
 * @param cure what to do about content that a tag needs
 */
export function problemText(
  { problem, digest, paths, detail }: Problem,
  needed: readonly NeededBy[],
  cure: string,
): string {
  const [first = ''] = paths;
  if (digest === undefined) return `${problem}  ${first}  ${detail}\n`;
  const more = paths.length > 1 ? ` and ${paths.length - 1} more` : '';
  const lines = [`${problem}  ${digest}  ${detail}`, `  in ${first}${more}`];
  for (const { repository, tags } of needed) {
    const rest = tags.length > TAGS_SHOWN ? ` and ${tags.length - TAGS_SHOWN} more` : '';
    lines.push(`  needed by ${repository}: ${tags.slice(0, TAGS_SHOWN).join(', ')}${rest}`);
  }
  lines.push(
    needed.length > 0
      ? `  ${cure}`
      : '  No tag needs it: dropdock clean removes it after its grace period',
  );
  return `${lines.join('\n')}\n`;
}

/**
 * Damaged content must be taken out of the store before a drop can replace it, and a second repair links it
 * into the snapshots.
 * @param target undefined: the directory
 */
export function cureOf(target: string | undefined, isRepaired: boolean): string {
  if (target !== undefined) {
    return `Run: dropdock copy --from OTHER --to ${target}, or drop any of these images again`;
  }
  return isRepaired
    ? 'Drop any of these images again, then run: dropdock verify --repair'
    : 'Run: dropdock verify --repair, then drop any of these images again, then run it once more';
}
