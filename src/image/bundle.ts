/**
 * A bundle's drop name says no repository: names come from inside it (`docker save -o x.tar a:1 b:2`).
 * Splits what it holds into what each repository gets. Pure.
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
 * The repository a reference names on this side: without the registry it came from, and without the
 * `library/` that Docker Hub puts before short names. A reference without a registry is one of the Hub.
 * @throws name.invalid
 */
export function repositoryOfReference(reference: string, namespace: string): RepositoryName {
  const { registry, path } = splitRegistry(parseImageReference(reference).repository ?? '');
  const isHub = registry === '' || /^(?:index\.)?docker\.io$/i.test(registry);
  const short = isHub && path.length === 2 && path[0] === 'library' ? path.slice(1) : path;
  return parseRepositoryName([...(namespace ? [namespace] : []), ...short].join('/'));
}

/** As Docker tells a registry from a path: it has a dot or a port, or is `localhost`. */
function splitRegistry(repository: string): {
  readonly registry: string;
  readonly path: readonly string[];
} {
  const [first = '', ...rest] = repository.split('/');
  const hasRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return hasRegistry ? { registry: first, path: rest } : { registry: '', path: [first, ...rest] };
}

/**
 * The names of one image as a layout gives them. A full name says which repository it is; what stands
 * beside it without a registry is an abbreviation of it and counts for its tag only.
 * @param full full references (`io.containerd.image.name`)
 * @param short what may be one, or a tag (`org.opencontainers.image.ref.name`)
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

/** The part of a short reference that may be a tag: `1.0` of `app:1.0` and of `1.0@sha256:…`. */
function tagIn(reference: string): string {
  const { repository = '', tag, invalidTag } = parseImageReference(reference);
  return tag ?? invalidTag ?? (isTag(repository) ? repository : '');
}

/** An image, or one of its names, for which a bundle has no repository. */
export interface RefusedName {
  /** As the bundle has it; the image's digest where it has none. */
  readonly name: string;
  readonly error: DropdockError;
}

export interface SplitBundle {
  readonly parts: ReadonlyMap<RepositoryName, StagedContent>;
  readonly refused: readonly RefusedName[];
}

/**
 * A name that cannot be used is refused alone: it says nothing of the other images.
 * @param content read with names and without tags
 * @param namespace the directory the bundle lies in, without a slash at its end
 * @throws tag.conflict; name.invalid and tag.invalid where no image has a name that can be used
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
  // What is attached to a published image, or part of one, goes with it.
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
  /** Without a repository, so they alone name nothing. */
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

/** Says which image it is, and its name as the bundle has it. */
function inBundle(error: DropdockError, name: string, digest: Digest): DropdockError {
  const shown = name.slice(0, NAME_SHOWN);
  return new DropdockError(
    error.code,
    `The bundle calls ${digest} "${shown}": ${error.message}`,
    { path: shown, digest },
    error,
  );
}

const NAME_SHOWN = 300;

function refuseUnnamed({ digest }: StagedRoot, invalidTags: readonly string[]): RefusedName {
  const [invalid] = invalidTags;
  const shown = invalid?.slice(0, NAME_SHOWN);
  const why = shown === undefined ? '' : `; "${shown}" is no tag and no full name`;
  return {
    name: shown ?? digest,
    error: new DropdockError(
      'name.invalid',
      `Image ${digest} has no name inside the bundle${why}. Drop it under the name of its repository.`,
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
      `${other.digest} and ${digest} both claim the tag ${tag}.`,
      { path: tag, digest },
    );
  }
}

/** What these roots lead to, with the signatures attached to any of it. */
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
