/**
 * Every failure dropdock can name: a code, whose fault it is, and what to do next.
 *
 * Whose fault decides what happens, and nothing else does (never the text of a message):
 * - content: the drop is wrong. It is rejected with a receipt and never retried unchanged.
 * - system:  the machine is in trouble. Nothing is lost; the drop stays claimed and is retried.
 * - usage:   the command line or the settings are wrong. Nothing was started.
 * - bug:     everything not in this table. The daemon stops and systemd starts it again.
 */
export type Fault = 'content' | 'system' | 'usage' | 'bug';

interface CodeEntry {
  readonly fault: Fault;
  /** What the operator or the uploader does about it. */
  readonly hint: string;
}

const content = (hint: string): CodeEntry => ({ fault: 'content', hint });
const system = (hint: string): CodeEntry => ({ fault: 'system', hint });
const usage = (hint: string): CodeEntry => ({ fault: 'usage', hint });

export const ERROR_CODES = {
  'digest.mismatch': content('The bytes are not what their digest says; copy the image again.'),
  'size.mismatch': content('A file is not as long as its descriptor says; copy the image again.'),
  'content.missing': content('Add what is missing and drop the image again.'),
  'path.outside': content('A drop may hold no links and nothing outside itself; copy real files.'),
  'file.type': content('A drop may hold files and directories only; remove the special file.'),
  'name.invalid': content('Name the drop <repository>[:<tag>][@<label>], in lower case.'),
  'tag.invalid': content('A tag is up to 128 of A-Z a-z 0-9 _ . - and does not begin with . or -.'),
  'tag.conflict': content('Two images claim one tag; give them different tags or drop them apart.'),
  'tag.ambiguous': content('The drop holds several images; leave the tag out of its name.'),
  'tag.immutable': content('The settings forbid moving this tag; choose a new one.'),
  'digest.invalid': content('A digest is sha256:<64 hex> or sha512:<128 hex>.'),
  'json.invalid': content('A JSON document is damaged or has the wrong shape.'),
  'json.too-large': content('No client accepts a manifest over 4 MiB.'),
  'json.too-deep': content('The JSON is nested too deeply to be a manifest.'),
  'manifest.unsupported': content('Convert the image, for example with skopeo copy --format oci.'),
  'manifest.type-mismatch': content('A manifest says another media type than what refers to it.'),
  'manifest.ambiguous': content(
    'Clients would read this manifest in two ways, or it is known as another kind; build it again.',
  ),
  'index.cycle': content('An index contains itself.'),
  'index.too-deep': content('Indexes are nested too deeply.'),
  'archive.truncated': content('Copy the archive again; it ends too early.'),
  'archive.damaged': content('Make the archive again; it cannot be unpacked.'),
  'format.unknown': content(
    'Drop an OCI image layout, a skopeo dir: or what docker save writes; plain, gzip, zstd or xz.',
  ),
  'drop.empty': content('The drop names no image.'),
  'limit.exceeded': content('The drop is larger than any image; split it.'),
  'space.low': system('Make room; the drop waits, and is published by itself then.'),
  'content.vanished': system('Content was removed while it was used; the publish is tried again.'),
  'pivot.moved': system('Another publisher was faster; the publish is tried again on its result.'),
  'lock.busy': system('Another publisher works on this repository; try again.'),
  'lock.lost': system('The lock was lost (a long pause?); the publish is tried again.'),
  'claim.lost': system('The claimed drop is gone; another daemon has taken it over.'),
  'layout.unsafe': system('The published tree is not as dropdock left it; see the message.'),
  'access.denied': system(
    'Root works as the user the tree belongs to. For an image: dropdock publish - --as REF <FILE.',
  ),
  'thread.failed': system('A worker thread ended unexpectedly; the work is tried again.'),
  'target.failed': system('The object store is in trouble or refuses; the publish is tried again.'),
  'target.damaged': system('An object is lost or not what its key says; dropdock copy mends it.'),
  'target.unfit': usage('Use a store with conditional writes, or say singleWriter: true.'),
  'settings.invalid': usage('man dropdock.yaml, or config/dropdock.yaml, has every setting.'),
  'usage.invalid': usage('See dropdock --help.'),
  'snapshot.unknown': usage('dropdock history REPO lists the snapshots that are kept.'),
  'tag.unknown': usage('dropdock status REPO lists its tags.'),
  'repository.unknown': usage('dropdock status lists the repositories.'),
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Facts about a failure, for a receipt and a log line: which path, which digest, found what. */
export type ErrorDetails = Readonly<Record<string, string | number | readonly string[]>>;

export class DropdockError extends Error {
  override readonly name = 'DropdockError';

  /**
   * @param code says whose fault it is
   * @param message one sentence a person can act on
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }

  get fault(): Fault {
    return ERROR_CODES[this.code].fault;
  }

  get hint(): string {
    return ERROR_CODES[this.code].hint;
  }
}

/** An error of the operating system, as Node throws it. */
export interface SystemError extends Error {
  readonly code: string;
  readonly syscall: string;
  readonly path?: string;
}

export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** True for a system error with one of these errno names: `hasErrno(error, 'ENOENT')`. */
export function hasErrno(error: unknown, ...names: readonly string[]): error is SystemError {
  return isSystemError(error) && names.includes(error.code);
}

/** Whose fault an error of any kind is. What nobody foresaw is a bug. */
export function faultOf(error: unknown): Fault {
  if (error instanceof DropdockError) return error.fault;
  return isSystemError(error) ? 'system' : 'bug';
}

/** What crosses a thread boundary: structured clone keeps neither class nor fields of an error. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly fields: Readonly<Record<string, string | number>>;
  readonly details: ErrorDetails | undefined;
  readonly cause: PlainError | undefined;
}

export function toPlainError(error: unknown): PlainError {
  if (!(error instanceof Error)) return toPlainError(new Error(String(error)));
  const fields: Record<string, string | number> = {};
  for (const key of ['code', 'errno', 'syscall', 'path', 'dest'] as const) {
    const value = (error as unknown as Record<string, unknown>)[key];
    if (typeof value === 'string' || typeof value === 'number') fields[key] = value;
  }
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    fields,
    details: error instanceof DropdockError ? error.details : undefined,
    cause: error.cause === undefined ? undefined : toPlainError(error.cause),
  };
}

export function fromPlainError(plain: PlainError): Error {
  const cause = plain.cause && fromPlainError(plain.cause);
  const { code } = plain.fields;
  const error =
    plain.name === 'DropdockError'
      ? new DropdockError(code as ErrorCode, plain.message, plain.details, cause)
      : Object.assign(new Error(plain.message, cause && { cause }), plain.fields);
  if (plain.stack !== undefined) error.stack = plain.stack;
  return error;
}
