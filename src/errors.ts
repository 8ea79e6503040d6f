/**
 * All errors of dropdock: code, cause and hint.
 *
 * Only the cause decides how an error is handled, never the text of its message:
 *
 * - content: the drop is wrong. It is rejected with a receipt and not retried.
 * - system: the host has a problem. The drop stays claimed and is retried.
 * - usage: the command line or the settings are wrong. Nothing was started.
 * - bug: everything else. The daemon stops and systemd restarts it.
 */
export type Fault = 'content' | 'system' | 'usage' | 'bug';

interface CodeEntry {
  readonly fault: Fault;
  /** What the operator or the uploader can do. */
  readonly hint: string;
}

const content = (hint: string): CodeEntry => ({ fault: 'content', hint });
const system = (hint: string): CodeEntry => ({ fault: 'system', hint });
const usage = (hint: string): CodeEntry => ({ fault: 'usage', hint });

export const ERROR_CODES = {
  'digest.mismatch': content('The content does not match its digest; copy the image again.'),
  'size.mismatch': content('The size of a file differs from its descriptor; copy the image again.'),
  'content.missing': content('Add what is missing and drop the image again.'),
  'path.outside': content(
    'A drop must not contain links or refer to files outside itself; copy the files.',
  ),
  'file.type': content('A drop may contain only files and directories; remove the special file.'),
  'name.invalid': content('Name the drop <repository>[:<tag>][@<label>], in lower case.'),
  'tag.invalid': content(
    'A tag has up to 128 characters of A-Z a-z 0-9 _ . - and does not begin with . or -.',
  ),
  'tag.conflict': content(
    'Two images have the same tag; give them different tags or drop them separately.',
  ),
  'tag.ambiguous': content('The drop contains several images; omit the tag from its name.'),
  'tag.immutable': content('The settings do not allow moving this tag; use a new tag.'),
  'digest.invalid': content('A digest is sha256:<64 hex> or sha512:<128 hex>.'),
  'json.invalid': content('A JSON document is damaged or has the wrong shape.'),
  'json.too-large': content('No client accepts a manifest over 4 MiB.'),
  'json.too-deep': content('The JSON is nested too deeply to be a manifest.'),
  'manifest.unsupported': content('Convert the image, for example with skopeo copy --format oci.'),
  'manifest.type-mismatch': content(
    'The media type of a manifest differs from that in its descriptor; build the image again.',
  ),
  'manifest.ambiguous': content(
    'Clients could read this manifest in two ways, or it is known as another type; build it again.',
  ),
  'index.cycle': content('An index contains itself.'),
  'index.too-deep': content('Indexes are nested too deeply.'),
  'archive.truncated': content('The archive is truncated; copy it again.'),
  'archive.damaged': content('The archive cannot be unpacked; create it again.'),
  'format.unknown': content(
    'Drop an OCI image layout, a skopeo dir: or a docker save archive; plain, gzip, zstd or xz.',
  ),
  'drop.empty': content('The drop contains no image; add one.'),
  'limit.exceeded': content('The drop is larger than any image; split it.'),
  'space.low': system('Free some space; the drop waits and is then published automatically.'),
  'content.vanished': system('Content was deleted while it was used; the publish is retried.'),
  'pivot.moved': system('Another publisher was faster; the publish is retried on its result.'),
  'lock.busy': system('Another publisher is working on this repository; try again.'),
  'lock.lost': system('The lock was lost (a long pause?); the publish is retried.'),
  'claim.lost': system('The claimed drop is gone; another daemon has taken it over.'),
  'layout.unsafe': system('The published tree was changed outside of dropdock; see the message.'),
  'access.denied': system('Run the command that the message shows.'),
  'thread.failed': system('A worker thread ended unexpectedly; the work is retried.'),
  'target.failed': system('The object store fails or refuses requests; the publish is retried.'),
  'target.damaged': system(
    'An object is missing or does not match its key; dropdock copy repairs it.',
  ),
  'target.unfit': usage('Use a store with conditional writes, or set singleWriter: true.'),
  'settings.invalid': usage('See man dropdock.yaml or config/dropdock.yaml for all settings.'),
  'usage.invalid': usage('See dropdock --help.'),
  'snapshot.unknown': usage('dropdock history REPO lists the kept snapshots.'),
  'tag.unknown': usage('dropdock status REPO lists its tags.'),
  'repository.unknown': usage('dropdock status lists the repositories.'),
} as const satisfies Record<string, CodeEntry>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Facts for a receipt and a log line: path, digest, expected and found values. */
export type ErrorDetails = Readonly<Record<string, string | number | readonly string[]>>;

export class DropdockError extends Error {
  override readonly name = 'DropdockError';

  /**
   * @param code determines the cause
   * @param message one sentence: what happened, to which object
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

/** An error of the operating system, as thrown by Node. */
export interface SystemError extends Error {
  readonly code: string;
  readonly syscall: string;
  readonly path?: string;
}

export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** Returns true for a system error with one of these names: `hasErrno(error, 'ENOENT')`. */
export function hasErrno(error: unknown, ...names: readonly string[]): error is SystemError {
  return isSystemError(error) && names.includes(error.code);
}

/** Returns the cause of any error. An unexpected error is a bug. */
export function faultOf(error: unknown): Fault {
  if (error instanceof DropdockError) return error.fault;
  return isSystemError(error) ? 'system' : 'bug';
}

/** An error that can be sent between threads: structured clone keeps neither class nor fields of an error. */
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
