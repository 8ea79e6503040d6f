/** The grammar of repository names, tags, ids and drop names. Pure. */
import { DropdockError } from '../errors.js';
import { CLAIM_NAME_MAX, DROP_NAME_MAX, REPOSITORY_NAME_MAX } from './limits.js';

declare const repositoryBrand: unique symbol;
declare const tagBrand: unique symbol;
declare const idBrand: unique symbol;

/** A repository name according to the distribution spec: `team/app`. */
export type RepositoryName = string & { readonly [repositoryBrand]: true };
/** A tag according to the distribution spec. */
export type Tag = string & { readonly [tagBrand]: true };
/** A repository name as one path component: `team~app`. */
export type RepositoryId = string & { readonly [idBrand]: true };

/** OCI distribution-spec v1.1, "Pulling manifests": <name>. */
const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
/** OCI distribution-spec v1.1, "Pulling manifests": <reference> as a tag. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
/** A configured id: one path component, without special characters of shells and web servers. */
const ID = /^[A-Za-z0-9_][A-Za-z0-9._~-]*$/;
/** These extensions are removed from names of archives; the format is recognised by content. */
const EXTENSION =
  /\.(?:tar|tar\.gz|tgz|tar\.zst|tar\.zstd|tzst|tar\.xz|txz|tar\.bz2|tbz2?|oci|docker)$/;

/** The extensions that are no usual end of a tag: `1.0.oci` may be meant, `1.0.tar.gz` is not. */
const TAR_EXTENSION = /\.(?:tar(?:\.(?:gz|zstd?|xz|bz2|lz4))?|tgz|tzst|txz|tbz2?)$/i;

/** Returns the tag without the extension of an archive; undefined if it has none. */
export function archiveTag(text: string): Tag | undefined {
  const bare = text.replace(TAR_EXTENSION, '');
  return bare !== text && isTag(bare) ? bare : undefined;
}

/** True if the name has the extension of an archive. */
export function hasExtension(name: string): boolean {
  return EXTENSION.test(name);
}

export function isRepositoryName(text: string): text is RepositoryName {
  return text.length <= REPOSITORY_NAME_MAX && REPOSITORY.test(text);
}

/** @throws name.invalid */
export function parseRepositoryName(text: string): RepositoryName {
  if (isRepositoryName(text)) return text;
  const why =
    text.length > REPOSITORY_NAME_MAX
      ? `is longer than ${REPOSITORY_NAME_MAX} characters`
      : 'is not a valid repository name (lower-case letters, digits, separators . _ - and /)';
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
  throw new DropdockError('tag.invalid', `"${shown}" is not a valid tag.`, { path: shown });
}

/** The default id of a repository. Reversible: no repository name contains a `~`. */
export function defaultRepositoryId(name: RepositoryName): RepositoryId {
  return name.replaceAll('/', '~') as RepositoryId;
}

export function isRepositoryId(text: string): text is RepositoryId {
  return text.length <= REPOSITORY_NAME_MAX && ID.test(text);
}

/** @throws name.invalid */
export function parseRepositoryId(text: string): RepositoryId {
  if (isRepositoryId(text)) return text;
  throw new DropdockError('name.invalid', `"${text.slice(0, 300)}" is not a valid repository id.`, {
    path: text.slice(0, 300),
  });
}

/** The parsed name of a drop. */
export interface DropName {
  /** Undefined for a bundle, whose names come from inside it. */
  readonly repository: RepositoryName | undefined;
  readonly tag: Tag | undefined;
  /** For a bundle: the namespace of its repositories, without a trailing slash. */
  readonly namespace: string;
}

/**
 * Parses `<repository>[:<tag>][@<label>][<extension>]` from a drop's path below the inbox. `=` may replace
 * `:`, and `~` may replace `/` (FAT, SMB, a flat SFTP directory).
 * @param isFile archives have an extension, directories do not
 * @throws name.invalid, tag.invalid
 */
export function parseDropName(path: string, isFile: boolean): DropName {
  const tooLong = whyTooLong(path);
  if (tooLong !== undefined) {
    throw new DropdockError('name.invalid', `The drop's path is ${tooLong}.`, {
      path: path.slice(0, 300),
    });
  }
  const unported = withoutPorts(path);
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

/**
 * Returns the repositories that a drop of this name may belong to: two if the kind of the drop matters.
 * `app.tar` belongs to `app` as an archive, and to `app.tar` as a directory.
 */
export function repositoriesOfDropName(path: string): RepositoryName[] {
  const names = [true, false].map((isFile) => {
    try {
      return parseDropName(path, isFile).repository;
    } catch {
      return undefined;
    }
  });
  return names[0] === undefined ? [] : [...new Set(names.filter((name) => name !== undefined))];
}

/**
 * Removes the port of each registry in a path. `skopeo sync --scoped` writes `host:port` first, possibly
 * below other directories; no repository name contains one.
 */
function withoutPorts(path: string): string {
  const slash = path.lastIndexOf('/') + 1;
  const { head, label } = splitLabel(path.slice(slash));
  const directories = path.slice(0, slash).replace(/([^/~:=@]+)[:=]\d+(?=[/~])/g, '$1');
  return directories + withoutFlatPorts(head) + label;
}

/**
 * The same for a path as one component (`reg:5000~team~app:1.2`). `app:5~beta` could also be an invalid tag,
 * so a port is only removed if a tag follows or the host is unmistakable.
 */
function withoutFlatPorts(head: string): string {
  return head.replace(/([^~:=]+)[:=]\d+~/g, (whole, host: string, at: number) => {
    const hasTag = /[:=]/.test(head.slice(at + whole.length));
    return hasTag || /^(?:localhost|\d+(?:\.\d+){3})$/.test(host) ? `${host}~` : whole;
  });
}

/** Splits a name, or the last component of a path, before the `@` of its label. */
function splitLabel(name: string): { readonly head: string; readonly label: string } {
  const at = name.indexOf('@');
  return at < 0 ? { head: name, label: '' } : { head: name.slice(0, at), label: name.slice(at) };
}

/**
 * Returns a drop's path as one path component, for its receipt and its name in `.rejected`: `team~app:1.2`.
 * For people, not unique: `claimName` encodes the path exactly.
 */
export function flatDropName(path: string): string {
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  // In the name of a directory an @ begins no label, but in the flat name it would.
  return [...parts.map((part) => part.replaceAll('@', '%40')), name].join('~');
}

/** Returns the most likely path of a flat name: every `~` before the label was a `/`. */
export function pathOfFlatName(name: string): string {
  const { head, label } = splitLabel(name);
  const parts = head.split('~');
  const last = parts.pop() ?? '';
  return [...parts.map((part) => part.replaceAll('%40', '@')), last + label].join('/');
}

/** First character of an escaped claim name, which is not a flat name. */
const ESCAPED = '^';

/**
 * Encodes a drop's path as one path component, which `pathOfClaimName` decodes exactly. It is the flat name
 * if that is reversible, as in every earlier version; other paths (for example `team~app=1.2`) are marked,
 * and written with `^` for `~`.
 */
export function claimName(path: string): string {
  const flat = flatDropName(path);
  if (pathOfClaimName(flat) === path) return flat;
  const slash = path.lastIndexOf('/') + 1;
  const { head, label } = splitLabel(path.slice(slash));
  const escaped = (text: string) =>
    text.replace(/[%^]/g, (char) => (char === '%' ? '%25' : '%5E')).replaceAll('~', '^');
  const directories = escaped(path.slice(0, slash)).replaceAll('@', '%40').replaceAll('/', '~');
  return ESCAPED + directories + escaped(head) + label;
}

/** Decodes the name of a claim, written by any version of dropdock. */
export function pathOfClaimName(name: string): string {
  if (name.startsWith(ESCAPED)) {
    const { head, label } = splitLabel(name.slice(ESCAPED.length));
    const meant = (char: string) =>
      ({ '~': '/', '^': '~', '%25': '%', '%5E': '^', '%40': '@' })[char] ?? char;
    const path = head.replace(/~|\^|%25|%5E|%40/g, meant) + label;
    // A drop's own name may begin with the mark; then it is a flat name.
    if (claimName(path) === name) return path;
  }
  return pathOfFlatName(name);
}

/** Returns why a path is too long to be claimed; undefined if it is not. */
export function whyTooLong(path: string): string | undefined {
  const bytes = (text: string) => Buffer.byteLength(text);
  if (bytes(path.replace(SHORT_LABEL, '')) > DROP_NAME_MAX) {
    return `longer than ${DROP_NAME_MAX} bytes`;
  }
  const isLong = Math.max(bytes(flatDropName(path)), bytes(claimName(path))) > CLAIM_NAME_MAX;
  return isLong ? 'too long after its special characters are escaped' : undefined;
}

/** The label of a returned drop if there is no room for a longer one. */
const SHORT_LABEL = /@r[0-9a-z]{3}$/;
const SHORT_LABEL_TRIES = 100;

/**
 * Returns names for a drop that is returned to the inbox after a new drop took its name: the same path with
 * another label, so it means the same repository and tag. Best first; the last ones always fit.
 * @param isFile an archive keeps its extension if there is room
 * @param at the time of its claim, as a timestamp
 * @param seed any integer
 */
export function returnedPaths(
  path: string,
  { isFile, at, seed }: { readonly isFile: boolean; readonly at: string; readonly seed: number },
): string[] {
  const extension = isFile ? (EXTENSION.exec(path)?.[0] ?? '') : '';
  const slash = path.lastIndexOf('/') + 1;
  const { head, label } = splitLabel(path.slice(slash, path.length - extension.length));
  const named = path.slice(0, slash) + head;
  const kept = label === '' || label === '@' ? '@' : `${label}-`;
  const long = [
    `${named}${kept}returned-${at}${extension}`,
    `${named}@returned-${at}${extension}`,
  ].filter((returned) => Buffer.byteLength(returned) <= DROP_NAME_MAX);
  const short = Array.from({ length: SHORT_LABEL_TRIES }, (_, nth) =>
    ((seed + nth) % 36 ** 3).toString(36).padStart(3, '0'),
  );
  return [...long, ...short.map((text) => `${named}@r${text}`)];
}

/**
 * Returns a path as one component with the same repository and tag, for a drop whose directory was removed.
 */
export function pathWithoutDirectories(path: string): string {
  return flatDropName(withoutPorts(path));
}

/** An image reference as written by tools. */
export interface ImageReference {
  /** Includes its registry; undefined if the reference has no repository. */
  readonly repository: string | undefined;
  readonly tag: Tag | undefined;
  /** Text in the place of a tag that is not a valid tag. */
  readonly invalidTag: string | undefined;
}

const NO_NAME: ImageReference = { repository: undefined, tag: undefined, invalidTag: undefined };
/** A digest that follows a name. */
const PINNED = /@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]+$/;
/**
 * A reference that is only a digest (containerd's CRI plugin keeps one for each image). Matches known
 * algorithms with their lengths, because in `app:<commit>` the commit is a tag.
 */
const DIGEST_ONLY =
  /^(?:(?:(?:index\.)?docker\.io\/)?library\/)?(?:(?:sha256|blake3):[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/i;
/** Docker's placeholder for a missing name or tag. */
const NONE = '<none>';

/**
 * Parses a name from inside a drop: a bare tag (skopeo, docker) or a full reference
 * (`registry.example/team/app:1.2`), each with or without a digest. A tag is used even if there is a digest;
 * a digest alone is not a name.
 */
export function parseImageReference(text: string): ImageReference {
  if (isTag(text)) return { ...NO_NAME, tag: text };
  const name = text.replace(PINNED, '');
  if (name === '' || DIGEST_ONLY.test(name)) return NO_NAME;
  const colon = name.lastIndexOf(':');
  if (colon > name.lastIndexOf('/')) {
    const repository = name.slice(0, colon);
    const tag = name.slice(colon + 1);
    return {
      repository: repository === NONE || repository === '' ? undefined : repository,
      tag: isTag(tag) ? tag : undefined,
      invalidTag: isTag(tag) || tag === NONE ? undefined : tag,
    };
  }
  // Without a registry, path or digest it is in the place of a tag.
  if (name === text && !name.includes('/')) return { ...NO_NAME, invalidTag: name };
  return { ...NO_NAME, repository: name };
}

/** Names that are never drops. inbox/writers.ts recognises names of drops that are being written. */
const BUSY =
  /^\.|\.(?:part|partial|tmp|filepart|crdownload|lock)$|~$|^(?:oci|dir)-put-blob|^ingest$/;

export function isBusyName(name: string): boolean {
  return BUSY.test(name);
}
