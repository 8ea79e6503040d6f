/** Password files as `htpasswd -B` writes them, with the minimum cost of bcrypt for speed. */
import { renameSync, writeFileSync } from 'node:fs';
import { hashSync } from 'bcryptjs';

const COST = 4;

/** Replaces the file by a rename, as careful people do. */
export function writeHtpasswd(path: string, users: Readonly<Record<string, string>>): void {
  const lines = Object.entries(users).map(([name, password]) => htpasswdLine(name, password));
  writeFileSync(`${path}.new`, `${lines.join('\n')}\n`);
  renameSync(`${path}.new`, path);
}

export function htpasswdLine(name: string, password: string): string {
  return `${name}:${hashSync(password, COST)}`;
}
