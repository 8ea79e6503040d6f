/** Names of users, for messages. */
import { readFileSync } from 'node:fs';

const USERS = '/etc/passwd';

/** Returns the name of a user of this host; `#<uid>`, which sudo accepts, if the file of users has none. */
export function userName(uid: number, users = USERS): string {
  try {
    for (const line of readFileSync(users, 'utf8').split('\n')) {
      const [name, , id] = line.split(':');
      if (name && id === String(uid)) return name;
    }
  } catch {
    // The number is enough.
  }
  return `#${uid}`;
}
