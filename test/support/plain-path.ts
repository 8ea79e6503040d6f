/** What is reached through an open directory, by the name that directory has just now. */
import { readlinkSync } from 'node:fs';

export function plainPath(path: string): string {
  const [, directory, rest] = /^(\/proc\/self\/fd\/\d+)(\/.*)?$/.exec(path) ?? [];
  return directory === undefined ? path : `${readlinkSync(directory)}${rest ?? ''}`;
}
