/** The grammar of repository names, tags, ids and drop names. Pure. */
import { DropdockError } from '../errors.js';
import { CLAIM_NAME_MAX, DROP_NAME_MAX, REPOSITORY_NAME_MAX } from './limits.js';

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

/** True for the name of an archive that says so. */
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
 * Removes the port of each registry in a path. `skopeo sync --scoped` puts `host:port` first, and it
 * may lie below other directories; no repository name contains one.
 */
function withoutPorts(path: string): string {
  const slash = path.lastIndexOf('/') + 1;
  const { head, label } = splitLabel(path.slice(slash));
  const directories = path.slice(0, slash).replace(/([^/~:=@]+)[:=]\d+(?=[/~])/g, '$1');
  return directories + withoutFlatPorts(head) + label;
}

/**
 * The same for a path written as one component (`reg:5000~team~app:1.2`). There `app:5~beta` may as well
 * be a wrong tag, so it counts only where a tag follows or the host can be nothing else.
 */
function withoutFlatPorts(head: string): string {
  return head.replace(/([^~:=]+)[:=]\d+~/g, (whole, host: string, at: number) => {
    const hasTag = /[:=]/.test(head.slice(at + whole.length));
    return hasTag || /^(?:localhost|\d+(?:\.\d+){3})$/.test(host) ? `${host}~` : whole;
  });
}

/** Splits a name, or a path's last component, before the `@` that begins its label. */
function splitLabel(name: string): { readonly head: string; readonly label: string } {
  const at = name.indexOf('@');
  return at < 0 ? { head: name, label: '' } : { head: name.slice(0, at), label: name.slice(at) };
}

/**
 * A drop's path as one path component, for its receipt and its place in `.rejected`: `team~app:1.2`.
 * For people: two paths may have the same. `claimName` keeps the path exactly.
 */
export function flatDropName(path: string): string {
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  // In a directory's name an @ begins no label; here it would.
  return [...parts.map((part) => part.replaceAll('@', '%40')), name].join('~');
}

/** The path that a flat name most likely stands for: every `~` before the label was a `/`. */
export function pathOfFlatName(name: string): string {
  const { head, label } = splitLabel(name);
  const parts = head.split('~');
  const last = parts.pop() ?? '';
  return [...parts.map((part) => part.replaceAll('%40', '@')), last + label].join('/');
}

/** Begins a claim's name that is no flat name. */
const ESCAPED = '^';

/**
 * A drop's path as one path component that is turned back by `pathOfClaimName` into exactly this path.
 * It is the flat name wherever that is enough, as in every earlier version; the others (`team~app=1.2`,
 * for one) are marked, and written with `^` for `~`.
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

/** The path that a claim's name stands for, whichever version of dropdock wrote it. */
export function pathOfClaimName(name: string): string {
  if (name.startsWith(ESCAPED)) {
    const { head, label } = splitLabel(name.slice(ESCAPED.length));
    const meant = (char: string) =>
      ({ '~': '/', '^': '~', '%25': '%', '%5E': '^', '%40': '@' })[char] ?? char;
    const path = head.replace(/~|\^|%25|%5E|%40/g, meant) + label;
    // A drop's own name may begin with the mark: then it is a flat name.
    if (claimName(path) === name) return path;
  }
  return pathOfFlatName(name);
}

/** Says why a drop cannot be claimed under its path; undefined for a path that fits. */
export function whyTooLong(path: string): string | undefined {
  const bytes = (text: string) => Buffer.byteLength(text);
  if (bytes(path.replace(SHORT_LABEL, '')) > DROP_NAME_MAX) {
    return `longer than ${DROP_NAME_MAX} bytes`;
  }
  const isLong = Math.max(bytes(flatDropName(path)), bytes(claimName(path))) > CLAIM_NAME_MAX;
  return isLong ? 'too long for the escapes its special characters need' : undefined;
}

/** The label of a returned drop where there is no room for a longer one. */
const SHORT_LABEL = /@r[0-9a-z]{3}$/;
const SHORT_LABEL_TRIES = 100;

/**
 * Names for a drop that is returned to the inbox while another one has taken its place: the same path
 * with another label, so it means the same repository and tag. Best first; the last always fit.
 * @param isFile an archive keeps its extension at the end, where there is room
 * @param at when it was claimed, as a timestamp
 * @param seed any whole number
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
 * A path as one component that means the same repository and tag, for a drop whose directory is gone.
 */
export function pathWithoutDirectories(path: string): string {
  return flatDropName(withoutPorts(path));
}

/** An image reference as tools write it into an image. */
export interface ImageReference {
  /** As it is written, with its registry; undefined where the reference names none. */
  readonly repository: string | undefined;
  readonly tag: Tag | undefined;
  /** What stands where a tag belongs, and is none. */
  readonly invalidTag: string | undefined;
}

const NO_NAME: ImageReference = { repository: undefined, tag: undefined, invalidTag: undefined };
/** A digest after a name. */
const PINNED = /@[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]+$/;
/**
 * A reference that is only a digest (containerd's CRI plugin keeps one for each image). By known
 * algorithms with their lengths: `app:<commit>` is a tag.
 */
const DIGEST_ONLY =
  /^(?:(?:(?:index\.)?docker\.io\/)?library\/)?(?:(?:sha256|blake3):[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/i;
/** Docker's word for "no name" and "no tag". */
const NONE = '<none>';

/**
 * Reads a name from inside a drop: a bare tag (skopeo, docker) or a full reference
 * (`registry.example/team/app:1.2`), each with or without a digest. A tag counts beside a digest;
 * a digest alone names nothing.
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
  // Without a registry, a path or a digest it stands where tools write a tag.
  if (name === text && !name.includes('/')) return { ...NO_NAME, invalidTag: name };
  return { ...NO_NAME, repository: name };
}

/** Names that are never a drop. What shows that one is being written is in inbox/writers.ts. */
const BUSY =
  /^\.|\.(?:part|partial|tmp|filepart|crdownload|lock)$|~$|^(?:oci|dir)-put-blob|^ingest$/;

export function isBusyName(name: string): boolean {
  return BUSY.test(name);
}
