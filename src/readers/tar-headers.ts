/**
 * From the headers of a tar to its members: long names, duplicates, hostile entries. Knows nothing
 * of where the bytes come from, so that a file and a stream are read by the same rules.
 */
import { Header, Pax } from 'tar';
import { DropdockError } from '../errors.js';
import { MEMBERS_PER_ARCHIVE_MAX, TAR_META_BYTES_MAX } from '../image/limits.js';

export const TAR_BLOCK = 512;

/** What follows a header block. */
export type TarEntry =
  /** A regular file; its bytes follow, padded to whole blocks. */
  | { readonly kind: 'file'; readonly path: string; readonly size: number }
  /** A record about the next header; its bytes are handed to `meta`. */
  | { readonly kind: 'meta'; readonly size: number }
  /** Nothing of interest; so many bytes to pass over. */
  | { readonly kind: 'other'; readonly size: number }
  /** One of the two blocks of zeros at the end. */
  | { readonly kind: 'zeros' };

/** Bytes with their padding. */
export function padded(size: number): number {
  return Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
}

/** True for bytes that begin like a tar: a header whose checksum is right. */
export function isTarHeader(block: Buffer): boolean {
  if (block.length < TAR_BLOCK) return false;
  try {
    return new Header(block, 0).cksumValid;
  } catch {
    return false;
  }
}

/** The library throws plain errors for numbers it cannot read; whatever it cannot read is damage. */
function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = (cause as Error).message;
    throw new DropdockError('archive.damaged', `A tar header cannot be read: ${why}.`, {}, cause);
  }
}

export class TarHeaders {
  /** Names that stand for another member, in archives of old docker versions. */
  readonly links = new Map<string, string>();
  #extended: Pax | undefined;
  #global: Pax | undefined;
  #metaType = '';
  #longPath: string | undefined;
  #longLink: string | undefined;
  #count = 0;

  /** @throws archive.damaged, path.outside, file.type, limit.exceeded */
  next(block: Buffer): TarEntry {
    const header = decode(() => new Header(block, 0, this.#extended, this.#global));
    if (header.nullBlock) return { kind: 'zeros' };
    if (!header.cksumValid) {
      throw new DropdockError('archive.damaged', 'A tar header has a wrong checksum.', {});
    }
    if (++this.#count > MEMBERS_PER_ARCHIVE_MAX) {
      throw new DropdockError(
        'limit.exceeded',
        `The archive has more than ${MEMBERS_PER_ARCHIVE_MAX} members.`,
      );
    }
    const size = header.size ?? 0;
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new DropdockError('archive.damaged', 'A tar header has an impossible size.', {});
    }
    const { type } = header;
    if (isMeta(type)) {
      if (size > TAR_META_BYTES_MAX) {
        throw new DropdockError('limit.exceeded', 'A tar record about a name is too long.');
      }
      this.#metaType = type;
      return { kind: 'meta', size };
    }
    const path = memberPath(this.#longPath ?? header.path ?? '');
    const link = this.#longLink ?? header.linkpath ?? '';
    this.#extended = undefined;
    this.#longPath = undefined;
    this.#longLink = undefined;
    return this.#member(type, path, link, size);
  }

  /** The bytes of a record that `next` announced. */
  meta(bytes: Buffer): void {
    decode(() => this.#meta(bytes));
  }

  #meta(bytes: Buffer): void {
    const text = () => bytes.toString('utf8').replace(/\0.*$/s, '');
    if (this.#metaType === 'GlobalExtendedHeader') {
      this.#global = Pax.parse(bytes.toString('utf8'), this.#global, true);
    } else if (this.#metaType === 'NextFileHasLongPath') this.#longPath = text();
    else if (this.#metaType === 'NextFileHasLongLinkpath') this.#longLink = text();
    else this.#extended = Pax.parse(bytes.toString('utf8'), this.#extended);
  }

  #member(type: string, path: string, link: string, size: number): TarEntry {
    switch (type) {
      case 'File':
      case 'OldFile':
      case 'ContiguousFile':
        this.links.delete(path);
        return { kind: 'file', path, size };
      case 'Directory':
      case 'GNUDumpDir':
        return { kind: 'other', size };
      case 'SymbolicLink':
        this.#rememberLink(path, link);
        return { kind: 'other', size };
      case 'Link':
        throw new DropdockError('path.outside', `${path} is a hard link.`, { path });
      default:
        throw new DropdockError('file.type', `${path} is no regular file (${type}).`, { path });
    }
  }

  /** docker save of old wrote a layer that images share once, and links to it (layer.tar). */
  #rememberLink(path: string, link: string): void {
    const directory = path.split('/').slice(0, -1);
    const target = resolveInside([...directory, ...link.split('/')]);
    if (!path.endsWith('/layer.tar') || link.startsWith('/') || target === undefined) {
      throw new DropdockError('path.outside', `${path} is a link.`, { path });
    }
    this.links.set(path, target);
  }
}

function isMeta(type: string): boolean {
  return (
    type === 'ExtendedHeader' ||
    type === 'OldExtendedHeader' ||
    type === 'GlobalExtendedHeader' ||
    type === 'NextFileHasLongPath' ||
    type === 'NextFileHasLongLinkpath'
  );
}

/** Without `./` before it. @throws path.outside */
function memberPath(path: string): string {
  const inside = path.startsWith('/') ? undefined : resolveInside(path.split('/'), true);
  if (inside !== undefined) return inside;
  throw new DropdockError('path.outside', `${path} leads out of the archive.`, { path });
}

function resolveInside(parts: readonly string[], refuseUp = false): string | undefined {
  const resolved: string[] = [];
  for (const part of parts) {
    if (part === '' || part === '.') continue;
    if (part !== '..') resolved.push(part);
    else if (refuseUp || resolved.pop() === undefined) return undefined;
  }
  return resolved.join('/');
}
