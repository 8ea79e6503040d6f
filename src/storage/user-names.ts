/**
 * The names of users, for the history and messages. The daemon must not wait for a directory service (LDAP), so a lookup has
 * a timeout, and a uid stands for a name that is not found.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';

const PASSWD = '/etc/passwd';
const GETENT_MS_MAX = 1000;
/** A renamed or new user is seen after this time. */
const KNOWN_MS = 60_000;
const KNOWN_MAX = 1000;

/** Returns lines in the form of passwd(5); the user may be among them. */
export type FindUser = (uid: number) => Promise<string>;

/** Returns /etc/passwd, and getent(1), which asks all sources of nsswitch.conf and may be missing. */
export function userSources(): readonly FindUser[] {
  return [
    () => readFile(PASSWD, 'utf8'),
    (uid) =>
      new Promise((resolve) => {
        const options = { timeout: GETENT_MS_MAX, killSignal: 'SIGKILL' } as const;
        execFile('getent', ['passwd', String(uid)], options, (_error, text) => resolve(text));
      }),
  ];
}

export class UserNames {
  readonly #sources: readonly FindUser[];
  readonly #known = new LRUCache<number, string>({ max: KNOWN_MAX, ttl: KNOWN_MS });
  #last: Promise<unknown> = Promise.resolve();

  /** @param sources asked in this order */
  constructor(sources: readonly FindUser[]) {
    this.#sources = sources;
  }

  /**
   * Returns the user's name, or the uid as text. Never rejects. Answers in the order of the calls, so that drops
   * stay in the order of their claims.
   */
  nameOf(uid: number): Promise<string> {
    const name = this.#last.then(async () => this.#known.get(uid) ?? (await this.#find(uid)));
    this.#last = name;
    return name;
  }

  async #find(uid: number): Promise<string> {
    let name: string | undefined;
    for (const source of this.#sources) name ??= await askOne(source, uid);
    const shown = name ?? String(uid);
    this.#known.set(uid, shown);
    return shown;
  }
}

async function askOne(source: FindUser, uid: number): Promise<string | undefined> {
  try {
    return nameIn(await source(uid), uid);
  } catch {
    return undefined;
  }
}

/** Returns the name of a user of this host at once; `#<uid>`, which sudo accepts, if the file has none. */
export function userName(uid: number, users = PASSWD): string {
  try {
    return nameIn(readFileSync(users, 'utf8'), uid) ?? `#${uid}`;
  } catch {
    return `#${uid}`;
  }
}

/** Finds `name:password:uid:…`. */
function nameIn(text: string, uid: number): string | undefined {
  for (const line of text.split('\n')) {
    const [name, , found] = line.split(':');
    if (name && found === String(uid)) return name;
  }
  return undefined;
}
