/** The file of names and passwords, and the header in which a client says its own. Pure. */

/** Users and their bcrypt hashes. */
export type Passwords = ReadonlyMap<string, string>;

/** As `htpasswd -B` writes it, and as bcrypt's other implementations do. */
const BCRYPT = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/;

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
