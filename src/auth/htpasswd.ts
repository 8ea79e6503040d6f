/** Parses the password file and the Authorization header. Pure. */

/** Bcrypt hashes by user name. */
export type Passwords = ReadonlyMap<string, string>;

/** As written by `htpasswd -B` and other bcrypt implementations. */
const BCRYPT = /^\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/;
/** The maximum of `htpasswd -C`; a comparison at cost 17 takes about ten seconds. */
const COST_MAX = 17;

/** Returns the cost of a hash: the base-2 logarithm of its number of rounds. */
export function bcryptCost(hash: string): number {
  return Number(hash.slice(4, 6));
}

/** Returns a hash of this cost that matches no known password. */
export function hashOfNobody(cost: number): string {
  const digits = String(cost).padStart(2, '0');
  return `$2b$${digits}$abcdefghijklmnopqrstuuYjGm5S5c0xDOYl1fTa6J8fLZ2Bv8mK.`;
}

/**
 * Returns the cost for all wrong passwords: the highest in use, so that response times do not reveal users.
 */
export function sharedCost(passwords: Passwords): number {
  let cost = 5;
  for (const hash of passwords.values()) cost = Math.max(cost, bcryptCost(hash));
  return Math.min(cost, COST_MAX);
}

/**
 * Parses `name:hash` lines; skips empty lines and comments.
 * @returns also the names (or line numbers) whose hash is not bcrypt: these users cannot log in
 */
export function parseHtpasswd(text: string): { passwords: Passwords; ignored: string[] } {
  const passwords = new Map<string, string>();
  const ignored: string[] = [];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0));
    const hash = line.slice(colon + 1).trim();
    if (name !== '' && BCRYPT.test(hash)) passwords.set(name, hash);
    else ignored.push(name || `line ${at + 1}`);
  }
  return { passwords, ignored };
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/**
 * Parses an Authorization header. Returns `anonymous` without a header, and for an empty user name with an
 * empty password: containers/image (skopeo, podman) sends that when it has no credentials. RFC 7617: the user
 * name ends at the first colon.
 */
export function parseAuthorization(
  header: string | undefined,
): Credentials | 'anonymous' | 'malformed' {
  if (header === undefined) return 'anonymous';
  const match = /^basic +([A-Za-z0-9+/]*={0,2}) *$/i.exec(header);
  if (match === null) return 'malformed';
  const text = Buffer.from(match[1] ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return 'malformed';
  const [user, password] = [text.slice(0, colon), text.slice(colon + 1)];
  return user === '' && password === '' ? 'anonymous' : { user, password };
}

/** Parses an Authorization header. @returns undefined if it contains no bearer token (RFC 6750, 2.1) */
export function parseBearer(header: string | undefined): string | undefined {
  return /^bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(header ?? '')?.[1];
}
