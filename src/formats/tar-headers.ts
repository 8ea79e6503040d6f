/**
 * Parses the headers of a tar: long names, duplicates, hostile entries. Does not know where the bytes come
 * from, so the same rules apply to files and streams.
 */
import { Header, Pax } from 'tar';
import { DropdockError } from '../errors.js';
import { MEMBERS_PER_ARCHIVE_MAX, TAR_META_BYTES_MAX } from '../image/limits.js';
import { linkTarget, memberPath } from './member-path.js';
import { isRootFilesystem, rootFilesystem } from './unsupported.js';

export const TAR_BLOCK = 512;

/** What follows a header block. */
export type TarEntry =
  /** A regular file; its bytes follow, padded to complete blocks. */
  | { readonly kind: 'file'; readonly path: string; readonly size: number }
  /** A record about the next header; the caller passes its bytes to `meta`. */
  | { readonly kind: 'meta'; readonly size: number }
  /** Irrelevant content; this many bytes are skipped. */
  | { readonly kind: 'other'; readonly size: number }
  /** One of the two blocks of zeros at the end. */
  | { readonly kind: 'zeros' };

/** Returns a size including the padding. */
export function padded(size: number): number {
  return Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
}

/** True for bytes that begin like a tar: a header with a valid checksum. */
export function isTarHeader(block: Buffer): boolean {
  if (block.length < TAR_BLOCK) return false;
  try {
    return new Header(block, 0).cksumValid;
  } catch {
    return false;
  }
}

/** The library throws plain errors for numbers that it cannot read; such a header is damaged. */
function decode<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = (cause as Error).message;
    throw new DropdockError('archive.damaged', `A tar header is invalid: ${why}.`, {}, cause);
  }
}

/** Maximum length of a chain of links; a legacy docker-archive has one level. */
const LINK_DEPTH_MAX = 8;

export class TarHeaders {
  /** Links to other members, in archives of early Docker versions. */
  readonly #links = new Map<string, string>();
  /** Names at the top, of any type. */
  readonly #topNames = new Set<string>();
  #refusal: DropdockError | undefined;
  #sparsePath: string | undefined;
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
    if (isPassedOver(type)) return { kind: 'other', size };
    const path = insideArchive(this.#longPath ?? header.path ?? '');
    this.#topNames.add(path.split('/', 1)[0] ?? '');
    if (this.#sparsePath !== undefined || type === 'SparseFile') {
      throw sparseMember(this.#sparsePath || path);
    }
    const link = this.#longLink ?? header.linkpath ?? '';
    this.#extended = undefined;
    this.#longPath = undefined;
    this.#longLink = undefined;
    return this.#member(type, path, link, size);
  }

  /** True if the archive contains an unsupported member: later content need not be kept. */
  get isRefused(): boolean {
    return this.#refusal !== undefined;
  }

  /**
   * Call this at the end mark. Only then the type of the archive is known: for the root filesystem of a
   * container, its links and devices are not the reason for the rejection.
   * @throws format.unknown, path.outside, file.type
   */
  check(): void {
    if (isRootFilesystem(this.#topNames)) throw rootFilesystem();
    if (this.#refusal) throw this.#refusal;
  }

  /** Returns the member of a name: the name itself, or the target of its link. */
  targetOf(path: string): string {
    let target = path;
    for (let depth = 0; depth < LINK_DEPTH_MAX; depth++) {
      const next = this.#links.get(target);
      if (next === undefined) break;
      target = next;
    }
    return target;
  }

  /** Takes the bytes of a record that `next` announced. */
  meta(bytes: Buffer): void {
    decode(() => this.#meta(bytes));
  }

  #meta(bytes: Buffer): void {
    const text = () => bytes.toString('utf8').replace(/\0.*$/s, '');
    if (this.#metaType === 'GlobalExtendedHeader') {
      this.#global = Pax.parse(bytes.toString('utf8'), this.#global, true);
    } else if (this.#metaType === 'NextFileHasLongPath') this.#longPath = text();
    else if (this.#metaType === 'NextFileHasLongLinkpath') this.#longLink = text();
    else {
      const records = bytes.toString('utf8');
      this.#extended = Pax.parse(records, this.#extended);
      this.#sparsePath ??= sparsePathIn(records);
    }
  }

  #member(type: string, path: string, link: string, size: number): TarEntry {
    switch (type) {
      case 'File':
      case 'OldFile':
      case 'ContiguousFile':
        this.#links.delete(path);
        return { kind: 'file', path, size };
      case 'Directory':
      case 'GNUDumpDir':
        return { kind: 'other', size };
      case 'SymbolicLink':
        this.#rememberLink(path, link);
        return { kind: 'other', size };
      case 'Link':
        this.#refuse('path.outside', `${path} is a hard link.`, path);
        return { kind: 'other', size };
      default:
        this.#refuse('file.type', `${path} is not a regular file (${type}).`, path);
        return { kind: 'other', size };
    }
  }

  #refuse(code: 'path.outside' | 'file.type', message: string, path: string): void {
    this.#refusal ??= new DropdockError(code, message, { path });
  }

  /** Old versions of docker save wrote a shared layer once, with links to it (layer.tar). */
  #rememberLink(path: string, link: string): void {
    const target = linkTarget(path.split('/').slice(0, -1), link);
    if (!path.endsWith('/layer.tar') || target === undefined) {
      this.#refuse('path.outside', `${path} is a link.`, path);
      return;
    }
    this.#links.set(path, target);
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

/** True for records about the archive or the next member: the label of tar -V is not a path. */
function isPassedOver(type: string): boolean {
  return type === 'TapeVolumeHeader' || type === 'SolarisACL' || type === 'Inode';
}

/**
 * Returns the name of a sparse file, '' if the name is in the header; undefined for all other files. GNU tar
 * writes sparse files with --sparse, bsdtar for every file with holes.
 */
function sparsePathIn(records: string): string | undefined {
  if (!/^\d+ GNU\.sparse\./m.test(records)) return undefined;
  return /^\d+ GNU\.sparse\.name=(.*)$/m.exec(records)?.[1] ?? '';
}

/** The bytes are a map and pieces. Read as normal content, they would be reported as damaged or missing. */
function sparseMember(path: string): DropdockError {
  return new DropdockError(
    'file.type',
    `${path} is stored as a sparse file, which is not supported; make the archive without --sparse ` +
      '(bsdtar: with --no-read-sparse).',
    { path },
  );
}

/** @throws path.outside */
function insideArchive(path: string): string {
  const inside = memberPath(path);
  if (inside !== undefined) return inside;
  throw new DropdockError('path.outside', `${path} points outside the archive.`, { path });
}
