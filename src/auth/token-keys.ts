/**
 * The secrets that tokens are signed with, one to a line of a file: `<secret> <when it was made>`. The
 * first line signs, and all of them are accepted, so that a secret can be replaced while tokens of the
 * last one are about. Pure, but for chance.
 */
import { createHmac, randomBytes } from 'node:crypto';

export interface TokenKey {
  /** Names the key in a token; tells nothing of the secret. */
  readonly id: string;
  readonly secret: Uint8Array;
  /** Milliseconds since the epoch; 0 where the file does not say. */
  readonly madeMs: number;
}

/** HS256 is as strong as its key: 32 bytes, in base64url 43 characters. */
const SECRET_BYTES = 32;
const SECRET_LENGTH_MIN = 32;

/**
 * A key that was just made signs nothing for so long: every endpoint that shares the file must have
 * seen it first.
 */
const UNUSED_MS = 60_000;
/** After so long the daemon makes another one. */
const ROTATE_MS = 30 * 24 * 3600 * 1000;

/** @returns also the numbers of lines whose secret is too short to be one: those are not used */
export function parseTokenKeys(text: string): { keys: TokenKey[]; ignored: number[] } {
  const keys: TokenKey[] = [];
  const ignored: number[] = [];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    const [secret = '', made = ''] = line.trim().split(/\s+/);
    if (secret === '' || secret.startsWith('#')) continue;
    if (secret.length < SECRET_LENGTH_MIN) ignored.push(at + 1);
    else keys.push(toKey(secret, Date.parse(made) || 0));
  }
  return { keys, ignored };
}

/** A key of one process, that no file has. */
export function randomKey(): TokenKey {
  return toKey(randomSecret(), 0);
}

function randomSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

function toKey(text: string, madeMs: number): TokenKey {
  const secret = Buffer.from(text);
  const id = createHmac('sha256', secret).update('name of this key').digest('base64url');
  return { id: id.slice(0, 16), secret, madeMs };
}

/** The first, unless others may not know it yet. */
export function signingKey(keys: readonly TokenKey[], nowMs: number): TokenKey | undefined {
  const [first, second] = keys;
  return first && second && nowMs - first.madeMs < UNUSED_MS ? second : first;
}

export function isRotationDue(keys: readonly TokenKey[], nowMs: number): boolean {
  const [first] = keys;
  return first === undefined || nowMs - first.madeMs >= ROTATE_MS;
}

/** The text of a file with a new key in front. The one before stays; those before that go. */
export function withNewKey(text: string, nowMs: number): string {
  const line = `${randomSecret()} ${new Date(nowMs).toISOString()}`;
  const before = text.split(/\r?\n/).find((each) => parseTokenKeys(each).keys.length > 0);
  return [line, ...(before === undefined ? [] : [before]), ''].join('\n');
}
