/** The file of names and passwords, and the header in which a client says its own. Pure. */

/** Users and their bcrypt hashes. */
export type Passwords = ReadonlyMap<string, string>;

/** As `htpasswd -B` writes it, and as bcrypt's other implementations do. */
const BCRYPT = /^\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/;
/** What `htpasswd -C` takes at most; a comparison at 17 lasts some ten seconds. */
const COST_MAX = 17;

/** How often, as a power of two, a hash's function is repeated. */
export function bcryptCost(hash: string): number {
  return Number(hash.slice(4, 6));
}

/** A hash that no password is known for, of that cost. */
export function hashOfNobody(cost: number): string {
  const digits = String(cost).padStart(2, '0');
  return `$2b$${digits}$abcdefghijklmnopqrstuuYjGm5S5c0xDOYl1fTa6J8fLZ2Bv8mK.`;
}

/** The cost at which every wrong password is compared: the highest, so that it tells no users apart. */
export function sharedCost(passwords: Passwords): number {
  let cost = 5;
  for (const hash of passwords.values()) cost = Math.max(cost, bcryptCost(hash));
  return Math.min(cost, COST_MAX);
}

/**
 * Reads `name:hash` lines; empty lines and comments are passed over.
 * @returns also the names (or line numbers) whose hash is not bcrypt: nobody gets in with those
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
 * Reads an Authorization header. `anonymous` where there is none, and for an empty name with an
 * empty password, which is what containers/image (skopeo, podman) sends when it has none to give.
 * RFC 7617: the name ends at the first colon.
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

/** Reads an Authorization header. @returns undefined for one that holds no token (RFC 6750, 2.1) */
export function parseBearer(header: string | undefined): string | undefined {
  return /^bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(header ?? '')?.[1];
}
