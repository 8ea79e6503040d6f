/** Command lines that users can paste: the program as it was started, with the same settings. */
import { basename, relative } from 'node:path';

export interface Invocation {
  /** How to start the program: `dropdock`, `node dist/main.js`. */
  readonly program: string;
  /** As given. */
  readonly root?: string | undefined;
  readonly config?: string | undefined;
}

/** Writes a command of dropdock; undefined words are left out. */
export type CommandLine = (...words: readonly (string | undefined)[]) => string;

export function commandLineOf({ program, root, config }: Invocation): CommandLine {
  const given = [...option('--root', root), ...option('--config', config)];
  return (...words) => {
    const all = [...words.filter((word) => word !== undefined), ...given];
    return [program, ...all.map(quote)].join(' ');
  };
}

/** Returns an option with its value, or nothing if there is no value. */
export function option(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [name, value];
}

/**
 * @param script argv[1]: the path of the script that Node runs
 * @param isNpx true if npx started it: then `dropdock` alone is not found
 */
export function programName(script: string, directory: string, isNpx: boolean): string {
  if (basename(script) === 'dropdock') return isNpx ? 'npx dropdock' : 'dropdock';
  const near = relative(directory, script);
  return `node ${quote(near.startsWith('../..') || near.length > script.length ? script : near)}`;
}

/** Quotes a word for a POSIX shell if it needs that. */
export function quote(word: string): string {
  return /^[\w./:@%+=,~-]+$/.test(word) && !word.startsWith('~')
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
