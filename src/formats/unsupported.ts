/**
 * Known formats that dropdock does not read. Each is rejected with its name and an alternative: ignored
 * silently, its owner would wait in vain. Pure.
 */
import { DropdockError } from '../errors.js';
import { recogniseNames } from './format.js';

/** Number of bytes read to recognise an archive: enough for a tar header in UTF-16. */
export const ARCHIVE_START_BYTES = 2048;

/** Long enough that no text file begins with it. */
const SIGNATURES: readonly (readonly [string, RegExp])[] = [
  ['bzip2', /^BZh[1-9](?:1AY&SY|\x17rE8P\x90)/],
  ['lzip', /^LZIP\x01/],
  ['lzma', /^\x5d\0\0.{2}\xff{8}/s],
  ['lz4', /^\x04\x22\x4d\x18/],
  ['lzop', /^\x89LZO\0\r\n\x1a\n/],
  ['compress', /^\x1f\x9d[\x80-\x9f]/],
  ['zip', /^PK(?:\x03\x04|\x05\x06)/],
  ['7z', /^7z\xbc\xaf\x27\x1c/],
  ['rar', /^Rar!\x1a\x07/],
];

/** Undefined for a file that is not an archive (yet), or that is supported. */
export function unsupportedArchive(start: Buffer): DropdockError | undefined {
  const bytes = start.toString('latin1');
  const [format] = SIGNATURES.find(([, signature]) => signature.test(bytes)) ?? [];
  if (format !== undefined) {
    return refusal(`${format} is not supported, use gzip or zstd.`, format);
  }
  const encoding = encodingOf(start);
  if (encoding === undefined) return undefined;
  return refusal(
    `The archive was converted to ${encoding} text, as > in PowerShell does; its content is lost. ` +
      'Create it again with docker save -o FILE.',
    encoding,
  );
}

/** Recognises binary data that was converted as text: a byte order mark, and control characters after it. */
function encodingOf(start: Buffer): 'UTF-16' | 'UTF-8' | undefined {
  const [first, second, third] = start;
  const isLittle = first === 0xff && second === 0xfe;
  if (isLittle || (first === 0xfe && second === 0xff)) {
    const units = Buffer.from(start.subarray(2, start.length - (start.length % 2)));
    const text = (isLittle ? units : units.swap16()).toString('utf16le');
    return isBinary(text) ? 'UTF-16' : undefined;
  }
  const isMarked = first === 0xef && second === 0xbb && third === 0xbf;
  return isMarked && isBinary(start.toString('utf8', 3)) ? 'UTF-8' : undefined;
}

function isBinary(text: string): boolean {
  return /[\0-\x08\x0e-\x1f]/.test(text);
}

/** Written by `docker export` and `podman export`: the files of a container, without an image description. */
export function rootFilesystem(): DropdockError {
  return refusal(
    'The archive is the root filesystem of a container (docker export), not an image. ' +
      'Use docker save; for a changed container, run docker commit first.',
    'docker export',
  );
}

const ROOT_DIRECTORIES =
  'bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var'.split(' ');

/** @param names the names at the top of an archive, of any type */
export function isRootFilesystem(names: ReadonlySet<string>): boolean {
  if (names.has('.dockerenv')) return true;
  if (recogniseNames([...names], () => true) !== undefined) return false;
  return ROOT_DIRECTORIES.filter((name) => names.has(name)).length >= 3;
}

function refusal(message: string, found: string): DropdockError {
  return new DropdockError('format.unknown', message, { path: '.', found });
}
