/** Decides the tags of a drop's images. The drop's name takes precedence over names inside it. Pure. */
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { parseImageReference, type Tag } from '../image/names.js';
import type { StagedManifest, StagedRoot } from '../image/staged-content.js';

/** An image listed in a layout. */
export interface NamedRoot {
  readonly digest: Digest;
  /** Its names in the drop: bare tags and full references, in any order. */
  readonly names: readonly string[];
}

/** What the name of the drop requests. */
export interface WantedName {
  readonly tag: Tag | undefined;
  /** True for a bundle: repositories and tags come from inside, and are set when it is split. */
  readonly fromInside?: boolean;
}

/**
 * @throws tag.ambiguous if one tag is requested for several images; tag.conflict if two images have the same
 * tag
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
    if (invalid.length > 0 && tags.length === 0 && main.has(digest)) {
      const names = invalid.join(', ');
      warnings.push(`${digest} has no tag (invalid: ${names}); it is published by digest only`);
    } else warnings.push(...invalid.map((each) => `ignored the invalid tag ${each} of ${digest}`));
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
      `The drop's name gives the tag ${tag}, but the drop contains ${images.length} images.`,
      { path: tag, images: images.slice(0, 20) },
    );
  }
  const others = [...namesOf.values()]
    .flatMap((names) => tagsFrom(names).tags)
    .filter((each, at, all) => each !== tag && all.indexOf(each) === at);
  const warning = `tagged ${tag} as in the drop's name; its tag inside is ${others.join(', ')}`;
  return {
    roots: digests.map((digest) => ({ digest, tags: digest === only ? [tag] : [], names: [] })),
    warnings: others.length > 0 ? [warning] : [],
  };
}

/** @returns the invalid names too, quoted */
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
    throw new DropdockError('tag.conflict', `${other} and ${digest} have the same tag ${tag}.`, {
      path: tag,
      digest,
    });
  }
  owner.set(tag, digest);
}

/** Returns the images without those that are part of another one or attached to one. */
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
