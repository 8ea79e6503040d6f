/**
 * A bundle's drop name says no repository: names come from inside it (`docker save -o x.tar a:1 b:2`).
 * Splits what it holds into what each repository gets. Pure.
 */
import { DropdockError } from '../errors.js';
import type { Digest } from './digest.js';
import {
  parseImageReference,
  parseRepositoryName,
  type RepositoryName,
  type Tag,
} from './names.js';
import type { StagedContent, StagedManifest, StagedRoot } from './staged-content.js';

/**
 * The repository a reference names on this side: without the registry it came from, and without the
 * `library/` that Docker Hub puts before short names.
 * @throws name.invalid
 */
export function repositoryOfReference(reference: string, namespace: string): RepositoryName {
  const parts = (parseImageReference(reference).repository ?? '').split('/');
  const [first = ''] = parts;
  const hasRegistry = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost');
  const path = hasRegistry ? parts.slice(1) : parts;
  const isHub = hasRegistry && /^(?:index\.)?docker\.io$/.test(first);
  const short = isHub && path.length === 2 && path[0] === 'library' ? path.slice(1) : path;
  return parseRepositoryName([...(namespace ? [namespace] : []), ...short].join('/'));
}

/**
 * @param content read with names and without tags
 * @param namespace the directory the bundle lies in, without a slash at its end
 * @throws name.invalid for an image without a name of its own; tag.conflict
 */
export function splitBundle(
  content: StagedContent,
  namespace: string,
): Map<RepositoryName, StagedContent> {
  const manifests = new Map(content.manifests.map((staged) => [staged.digest, staged]));
  const rootsOf = new Map<RepositoryName, StagedRoot[]>();
  const attached: StagedRoot[] = [];
  for (const root of content.roots) {
    if (root.names.length === 0 && manifests.get(root.digest)?.manifest.subject) {
      attached.push(root);
      continue;
    }
    for (const [repository, tags] of tagsByRepository(root, namespace)) {
      const roots = rootsOf.get(repository) ?? [];
      refuseConflict(roots, root.digest, tags);
      roots.push({ ...root, tags });
      rootsOf.set(repository, roots);
    }
  }
  return new Map(
    [...rootsOf].map(([repository, roots]) => [
      repository,
      partOf(content, manifests, roots, attached),
    ]),
  );
}

function tagsByRepository(
  { digest, names }: StagedRoot,
  namespace: string,
): Map<RepositoryName, Tag[]> {
  const found = new Map<RepositoryName, Tag[]>();
  for (const name of names) {
    const { repository, tag } = parseImageReference(name);
    if (repository === undefined) continue;
    const target = repositoryOfReference(name, namespace);
    const tags = found.get(target) ?? [];
    if (tag !== undefined && !tags.includes(tag)) tags.push(tag);
    found.set(target, tags);
  }
  if (found.size > 0) return found;
  throw new DropdockError(
    'name.invalid',
    `Image ${digest} has no name inside the bundle; drop it under the name of its repository.`,
    { path: names[0] ?? '', digest },
  );
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
