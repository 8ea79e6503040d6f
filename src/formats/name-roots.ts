/** Decides which tags a drop's images get: the path wins over the names inside. Pure. */
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { parseImageReference, type Tag } from '../image/names.js';
import type { StagedManifest, StagedRoot } from '../image/staged-content.js';

/** An image as a layout lists it. */
export interface NamedRoot {
  readonly digest: Digest;
  /** What the tool called it: bare tags and full references, in any order. */
  readonly names: readonly string[];
}

/** What the drop's own name asks for. */
export interface WantedName {
  readonly tag: Tag | undefined;
  /** A bundle: repositories and tags come from inside, and are decided when it is split. */
  readonly fromInside?: boolean;
}

/**
 * @throws tag.ambiguous when one tag is asked for and several images are there;
 *   tag.conflict when two images claim one tag
 */
export function nameRoots(
  listed: readonly NamedRoot[],
  manifests: readonly StagedManifest[],
  wanted: WantedName,
): { roots: StagedRoot[]; warnings: string[] } {
  const namesOf = new Map<Digest, Set<string>>();
  for (const { digest, names } of listed) {
    const all = namesOf.get(digest) ?? new Set();
    for (const name of names) all.add(name);
    namesOf.set(digest, all);
  }
  if (wanted.fromInside) {
    const roots = [...namesOf].map(([digest, names]) => ({ digest, tags: [], names: [...names] }));
    return { roots, warnings: [] };
  }
  const main = mainImages([...namesOf.keys()], manifests);
  const children = childrenOf(manifests);
  if (wanted.tag !== undefined) {
    const digests = [...namesOf.keys()].filter((digest) => !children.has(digest));
    return giveTag(wanted.tag, digests, main, namesOf);
  }

  const owner = new Map<Tag, Digest>();
  const warnings: string[] = [];
  const roots = [...namesOf].map(([digest, names]) => {
    const { tags, invalid } = tagsFrom(names);
    for (const tag of tags) claimTag(owner, tag, digest);
    if (tags.length === 0 && main.has(digest)) {
      const why = invalid.length === 0 ? '' : ` (${invalid.join(', ')} is no tag)`;
      warnings.push(`${digest} has no tag${why}; it is published by digest only`);
    } else warnings.push(...invalid.map((each) => `${each} is no tag; ${digest} does not get it`));
    return { digest, tags, names: [...names] };
  });
  return {
    roots: roots.filter(({ tags, digest }) => tags.length > 0 || !children.has(digest)),
    warnings,
  };
}

function giveTag(
  tag: Tag,
  digests: readonly Digest[],
  main: ReadonlySet<Digest>,
  namesOf: ReadonlyMap<Digest, ReadonlySet<string>>,
): { roots: StagedRoot[]; warnings: string[] } {
  const images = main.size > 0 ? [...main] : digests;
  const only = images[0];
  if (images.length !== 1 || only === undefined) {
    throw new DropdockError(
      'tag.ambiguous',
      `The drop's name gives the tag ${tag}, but the drop holds ${images.length} images.`,
      { path: tag, images: images.slice(0, 20) },
    );
  }
  const others = [...namesOf.values()]
    .flatMap((names) => tagsFrom(names).tags)
    .filter((each, at, all) => each !== tag && all.indexOf(each) === at);
  const warning = `tagged ${tag}, as the drop's name says; inside it is ${others.join(', ')}`;
  return {
    roots: digests.map((digest) => ({ digest, tags: digest === only ? [tag] : [], names: [] })),
    warnings: others.length > 0 ? [warning] : [],
  };
}

/** @returns what is no tag as well, quoted */
function tagsFrom(names: Iterable<string>): { tags: Tag[]; invalid: string[] } {
  const tags = new Set<Tag>();
  const invalid = new Set<string>();
  for (const name of names) {
    const { tag, invalidTag } = parseImageReference(name);
    if (tag !== undefined) tags.add(tag);
    if (invalidTag !== undefined) invalid.add(JSON.stringify(invalidTag.slice(0, 150)));
  }
  return { tags: [...tags].sort(), invalid: [...invalid].sort() };
}

function claimTag(owner: Map<Tag, Digest>, tag: Tag, digest: Digest): void {
  const other = owner.get(tag);
  if (other !== undefined && other !== digest) {
    throw new DropdockError('tag.conflict', `${other} and ${digest} both claim the tag ${tag}.`, {
      path: tag,
      digest,
    });
  }
  owner.set(tag, digest);
}

/** The images a person would count: neither part of another one nor attached to one. */
function mainImages(
  digests: readonly Digest[],
  manifests: readonly StagedManifest[],
): ReadonlySet<Digest> {
  const children = childrenOf(manifests);
  const attached = new Set(
    manifests.filter(({ manifest }) => manifest.subject).map(({ digest }) => digest),
  );
  return new Set(digests.filter((digest) => !children.has(digest) && !attached.has(digest)));
}

function childrenOf(manifests: readonly StagedManifest[]): ReadonlySet<Digest> {
  return new Set(
    manifests.flatMap(({ manifest }) => manifest.manifests.map((child) => child.digest)),
  );
}
