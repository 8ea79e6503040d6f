/** The path of an entry in an open directory, using the current name of that directory. */
import { readlinkSync } from 'node:fs';

export function plainPath(path: string): string {
  const [, directory, rest] = /^(\/proc\/self\/fd\/\d+)(\/.*)?$/.exec(path) ?? [];
  return directory === undefined ? path : `${readlinkSync(directory)}${rest ?? ''}`;
}
