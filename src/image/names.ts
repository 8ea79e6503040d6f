/** The grammar of repository names, tags, ids and drop names. Pure. */
import { DropdockError } from '../errors.js';
import { DROP_NAME_MAX, REPOSITORY_NAME_MAX } from './limits.js';

declare const repositoryBrand: unique symbol;
declare const tagBrand: unique symbol;
declare const idBrand: unique symbol;

/** A repository as the distribution spec names it: `team/app`. */
export type RepositoryName = string & { readonly [repositoryBrand]: true };
/** A tag as the distribution spec allows it. */
export type Tag = string & { readonly [tagBrand]: true };
/** A repository's name as one path component: `team~app`. */
export type RepositoryId = string & { readonly [idBrand]: true };

/** OCI distribution-spec v1.1, "Pulling manifests": <name>. */
const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
/** OCI distribution-spec v1.1, "Pulling manifests": <reference> as a tag. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
/** A chosen id: one path component, and nothing a shell or a web server reads anything into. */
const ID = /^[A-Za-z0-9_][A-Za-z0-9._~-]*$/;
/** Archives lose these from their names; the content decides what they are. */
const EXTENSION =
  /\.(?:tar|tar\.gz|tgz|tar\.zst|tar\.zstd|tzst|tar\.xz|txz|tar\.bz2|tbz2?|oci|docker)$/;

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= REPOSITORY_NAME_MAX && REPOSITORY.test(text);
}

/** @throws name.invalid */
export function parseRepositoryName(text: string): RepositoryName {
  if (isRepositoryName(text)) return text;
  const why =
    text.length > REPOSITORY_NAME_MAX
      ? `is longer than ${REPOSITORY_NAME_MAX} characters`
      : 'is no repository name (lower-case letters, digits, separators . _ - and /)';
  throw new DropdockError('name.invalid', `"${text.slice(0, 300)}" ${why}.`, {
    path: text.slice(0, 300),
  });
}

export function isTag(text: string): text is Tag {
  return TAG.test(text);
}

/** @throws tag.invalid */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  const shown = text.slice(0, 150);
  throw new DropdockError('tag.invalid', `"${shown}" is no tag.`, { path: shown });
}

/** The id a repository has when the settings give it no other. Reversible: no name holds a `~`. */
export function defaultRepositoryId(name: RepositoryName): RepositoryId {
  return name.replaceAll('/', '~') as RepositoryId;
}

export function isRepositoryId(text: string): text is RepositoryId {
  return text.length <= REPOSITORY_NAME_MAX && ID.test(text);
}

/** @throws name.invalid */
export function parseRepositoryId(text: string): RepositoryId {
  if (isRepositoryId(text)) return text;
  throw new DropdockError('name.invalid', `"${text.slice(0, 300)}" is no repository id.`, {
    path: text.slice(0, 300),
  });
}

/** What a drop's name says. */
export interface DropName {
  /** Undefined for a bundle, whose names come from inside it. */
  readonly repository: RepositoryName | undefined;
  readonly tag: Tag | undefined;
  /** For a bundle: the name space its repositories lie under, without a slash at its end. */
  readonly namespace: string;
}

/**
 * Reads `<repository>[:<tag>][@<label>][<extension>]` from a drop's path below the inbox.
 * `=` may stand for `:` and `~` for `/` (FAT, SMB, a flat SFTP folder).
 * @param isFile archives carry an extension, directories do not
 * @throws name.invalid, tag.invalid
 */
export function parseDropName(path: string, isFile: boolean): DropName {
  if (Buffer.byteLength(path) > DROP_NAME_MAX) {
    throw new DropdockError(
      'name.invalid',
      `The drop's path is longer than ${DROP_NAME_MAX} bytes.`,
      { path: path.slice(0, 300) },
    );
  }
  // skopeo sync --scoped puts the registry first, with its port; no repository is named with one.
  const unported = path.replace(/^([^/:=@]+):\d+\//, '$1/');
  const bare = isFile ? unported.replace(EXTENSION, '') : unported;
  const slash = bare.lastIndexOf('/');
  const label = bare.indexOf('@', slash + 1);
  const named = (label < 0 ? bare : bare.slice(0, label)).replaceAll('~', '/');
  if (label === slash + 1 || named.endsWith('/')) {
    return { repository: undefined, tag: undefined, namespace: named.replace(/\/+$/, '') };
  }
  const match = /^([^:=]*)(?:[:=](.*))?$/s.exec(named);
  const repository = parseRepositoryName(match?.[1] ?? named);
  const tag = match?.[2];
  return { repository, tag: tag === undefined ? undefined : parseTag(tag), namespace: '' };
}

/** A drop's path as one path component, for its claim and its receipt. It means the same drop. */
export function flatDropName(path: string): string {
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  // In a directory's name an @ begins no label; here it would.
  return [...parts.map((part) => part.replaceAll('@', '%40')), name].join('~');
}

/** An image reference as tools write it into a layout. */
export interface ImageReference {
  readonly repository: string | undefined;
  readonly tag: Tag | undefined;
}

/**
 * Reads a name from inside a drop: a bare tag (skopeo, docker) or a full reference
 * (`registry.example/team/app:1.2`); anything else names no tag.
 */
export function parseImageReference(text: string): ImageReference {
  if (isTag(text)) return { repository: undefined, tag: text };
  const withoutDigest = text.replace(/@[a-z0-9]+:[0-9a-f]+$/, '');
  const colon = withoutDigest.lastIndexOf(':');
  if (colon > withoutDigest.lastIndexOf('/')) {
    const tag = withoutDigest.slice(colon + 1);
    return { repository: withoutDigest.slice(0, colon), tag: isTag(tag) ? tag : undefined };
  }
  return { repository: withoutDigest, tag: undefined };
}

/** Names that are never a drop. What shows that one is being written is in inbox/writers.ts. */
const BUSY =
  /^\.|\.(?:part|partial|tmp|filepart|crdownload|lock)$|~$|^(?:oci|dir)-put-blob|^ingest$/;

export function isBusyName(name: string): boolean {
  return BUSY.test(name);
}
