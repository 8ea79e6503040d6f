/**
 * The secrets that sign tokens, one per line of a file: `<secret> <creation time>`. The first line signs; all
 * lines are accepted, so that a secret can be replaced while tokens signed with the previous one are in use.
 * Pure, except for random numbers.
 */
import { createHmac, randomBytes } from 'node:crypto';

export interface TokenKey {
  /** Identifies the key in a token; reveals nothing about the secret. */
  readonly id: string;
  readonly secret: Uint8Array;
  /** Milliseconds since the epoch; 0 if the file has no time. */
  readonly madeMs: number;
}

/** HS256 is as strong as its key: 32 bytes, which are 43 characters in base64url. */
const SECRET_BYTES = 32;
const SECRET_LENGTH_MIN = 32;

/** A new key signs no tokens for this time: every endpoint that shares the file must load it first. */
const UNUSED_MS = 60_000;
/** The daemon adds a new key after this time. */
const ROTATE_MS = 30 * 24 * 3600 * 1000;

/** @returns also the line numbers whose secret is too short; these are not used */
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

/** Returns a random key for this process only, which is in no file. */
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

/** Returns the first key, or the second while other processes may not know the first yet. */
export function signingKey(keys: readonly TokenKey[], nowMs: number): TokenKey | undefined {
  const [first, second] = keys;
  return first && second && nowMs - first.madeMs < UNUSED_MS ? second : first;
}

export function isRotationDue(keys: readonly TokenKey[], nowMs: number): boolean {
  const [first] = keys;
  return first === undefined || nowMs - first.madeMs >= ROTATE_MS;
}

/** Returns the file's text with a new key in front. The previous key stays; older keys are removed. */
export function withNewKey(text: string, nowMs: number): string {
  const line = `${randomSecret()} ${new Date(nowMs).toISOString()}`;
  const before = text.split(/\r?\n/).find((each) => parseTokenKeys(each).keys.length > 0);
  return [line, ...(before === undefined ? [] : [before]), ''].join('\n');
}
