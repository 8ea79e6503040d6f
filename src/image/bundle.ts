/**
 * The name of a bundle contains no repository: the names come from its content (`docker save -o x.tar a:1
 * b:2`). Splits the content by repository. Pure.
 */
import { DropdockError } from '../errors.js';
import type { Digest } from './digest.js';
import {
  isTag,
  parseImageReference,
  parseRepositoryName,
  parseTag,
  type RepositoryName,
  type Tag,
} from './names.js';
import type { StagedContent, StagedManifest, StagedRoot } from './staged-content.js';

/**
 * Returns the local repository of a reference: without its registry and without the `library/` of Docker Hub.
 * A reference without a registry is from Docker Hub.
 * @throws name.invalid
 */
export function repositoryOfReference(reference: string, namespace: string): RepositoryName {
  const { registry, path } = splitRegistry(parseImageReference(reference).repository ?? '');
  const isHub = registry === '' || /^(?:index\.)?docker\.io$/i.test(registry);
  const short = isHub && path.length === 2 && path[0] === 'library' ? path.slice(1) : path;
  return parseRepositoryName([...(namespace ? [namespace] : []), ...short].join('/'));
}

/** Distinguishes a registry from a path like Docker: it contains a dot or a port, or is `localhost`. */
function splitRegistry(repository: string): {
  readonly registry: string;
  readonly path: readonly string[];
} {
  const [first = '', ...rest] = repository.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return hasRegistry ? { registry: first, path: rest } : { registry: '', path: [first, ...rest] };
}

/**
 * Combines the names of one image in a layout. A full name gives the repository; a name without a registry
 * next to it is its abbreviation and contributes only its tag.
 * @param full full references (`io.containerd.image.name`)
 * @param short a reference or a tag (`org.opencontainers.image.ref.name`)
 */
export function combineNames(full: readonly string[], short: readonly string[]): string[] {
  const isNamed = full.some((name) => parseImageReference(name).repository !== undefined);
  const shortened = short.map((name) => {
    const { repository } = parseImageReference(name);
    const isShort = repository !== undefined && splitRegistry(repository).registry === '';
    return isNamed && isShort ? tagIn(name) : name;
  });
  return [...full, ...shortened];
}

/** Returns the possible tag in a short reference: `1.0` of `app:1.0` and of `1.0@sha256:…`. */
function tagIn(reference: string): string {
  const { repository = '', tag, invalidTag } = parseImageReference(reference);
  return tag ?? invalidTag ?? (isTag(repository) ? repository : '');
}

/** An image, or one of its names, without a repository in this bundle. */
export interface RefusedName {
  /** The name in the bundle, or the image's digest if it has none. */
  readonly name: string;
  readonly error: DropdockError;
}

export interface SplitBundle {
  readonly parts: ReadonlyMap<RepositoryName, StagedContent>;
  readonly refused: readonly RefusedName[];
}

/**
 * Refuses only the unusable names; the other images are published.
 * @param content read with names and without tags
 * @param namespace the directory of the bundle, without a trailing slash
 * @throws tag.conflict; name.invalid and tag.invalid if no image has a usable name
 */
export function splitBundle(content: StagedContent, namespace: string): SplitBundle {
  const manifests = new Map(content.manifests.map((staged) => [staged.digest, staged]));
  const rootsOf = new Map<RepositoryName, StagedRoot[]>();
  const attached: StagedRoot[] = [];
  const refused: RefusedName[] = [];
  const unnamed: { readonly root: StagedRoot; readonly invalid: readonly string[] }[] = [];
  for (const root of content.roots) {
    const named = tagsByRepository(root, namespace);
    refused.push(...named.refused);
    if (named.tags.size === 0 && named.refused.length === 0) {
      unnamed.push({ root, invalid: named.invalidTags });
      if (manifests.get(root.digest)?.manifest.subject) attached.push(root);
    }
    for (const [repository, tags] of named.tags) {
      const roots = rootsOf.get(repository) ?? [];
      refuseConflict(roots, root.digest, tags);
      roots.push({ ...root, tags });
      rootsOf.set(repository, roots);
    }
  }
  const parts = new Map(
    [...rootsOf].map(([repository, roots]) => [
      repository,
      partOf(content, manifests, roots, attached),
    ]),
  );
  // Includes manifests that are part of a published image or attached to one.
  const published = new Set([...parts.values()].flatMap((part) => part.manifests).map(digestOf));
  for (const { root, invalid } of unnamed) {
    if (!published.has(root.digest)) refused.push(refuseUnnamed(root, invalid));
  }
  const [first] = refused;
  if (parts.size === 0 && first) throw first.error;
  return { parts, refused };
}

const digestOf = ({ digest }: { readonly digest: Digest }) => digest;

interface NamesOfRoot {
  readonly tags: ReadonlyMap<RepositoryName, Tag[]>;
  readonly refused: readonly RefusedName[];
  /** Names without a repository, so they cannot be used alone. */
  readonly invalidTags: readonly string[];
}

function tagsByRepository({ digest, names }: StagedRoot, namespace: string): NamesOfRoot {
  const tags = new Map<RepositoryName, Tag[]>();
  const refused: RefusedName[] = [];
  const invalidTags: string[] = [];
  for (const name of names) {
    const { repository, tag, invalidTag } = parseImageReference(name);
    if (repository === undefined) {
      if (invalidTag !== undefined) invalidTags.push(invalidTag);
      continue;
    }
    try {
      const target = repositoryOfReference(name, namespace);
      if (invalidTag !== undefined) parseTag(invalidTag);
      const given = tags.get(target) ?? [];
      if (tag !== undefined && !given.includes(tag)) given.push(tag);
      tags.set(target, given);
    } catch (error) {
      if (!(error instanceof DropdockError)) throw error;
      refused.push({ name, error: inBundle(error, name, digest) });
    }
  }
  return { tags, refused, invalidTags };
}

/** Adds the image and its name in the bundle to the message. */
function inBundle(error: DropdockError, name: string, digest: Digest): DropdockError {
  const shown = name.slice(0, NAME_SHOWN);
  return new DropdockError(
    error.code,
    `Invalid name "${shown}" of ${digest} in the bundle: ${error.message}`,
    { path: shown, digest },
    error,
  );
}

const NAME_SHOWN = 300;

function refuseUnnamed({ digest }: StagedRoot, invalidTags: readonly string[]): RefusedName {
  const [invalid] = invalidTags;
  const shown = invalid?.slice(0, NAME_SHOWN);
  const why = shown === undefined ? '' : ` ("${shown}" is neither a valid tag nor a full name)`;
  return {
    name: shown ?? digest,
    error: new DropdockError(
      'name.invalid',
      `Image ${digest} has no name inside the bundle${why}. Name the drop after its repository.`,
      { path: shown ?? '', digest },
    ),
  };
}

function refuseConflict(roots: readonly StagedRoot[], digest: Digest, tags: readonly Tag[]): void {
  for (const other of roots) {
    const tag = tags.find((each) => other.tags.includes(each));
    if (tag === undefined || other.digest === digest) continue;
    throw new DropdockError(
      'tag.conflict',
      `${other.digest} and ${digest} have the same tag ${tag}.`,
      { path: tag, digest },
    );
  }
}

/** Returns everything these roots refer to, with the signatures attached to it. */
function partOf(
  content: StagedContent,
  manifests: ReadonlyMap<Digest, StagedManifest>,
  roots: readonly StagedRoot[],
  attached: readonly StagedRoot[],
): StagedContent {
  const reached = new Map<Digest, StagedManifest>();
  const wanted = new Set<Digest>();
  const visit = (digest: Digest): void => {
    const staged = manifests.get(digest);
    if (staged === undefined || reached.has(digest)) return;
    const { config, layers, manifests: children } = staged.manifest;
    for (const each of [...(config ? [config] : []), ...layers, ...children]) {
      wanted.add(each.digest);
    }
    for (const child of children) visit(child.digest);
    reached.set(digest, staged);
  };
  for (const root of roots) visit(root.digest);
  const own = attached.filter(({ digest }) => {
    const subject = manifests.get(digest)?.manifest.subject?.digest;
    return subject !== undefined && reached.has(subject);
  });
  for (const root of own) visit(root.digest);
  return {
    ...content,
    roots: [...roots, ...own],
    manifests: [...reached.values()],
    blobs: content.blobs.filter(({ digest }) => wanted.has(digest)),
  };
}
