/**
 * What is to be told, on disk until it is: a crash loses none of it.
 *
 *   <spool>/                       mode 0700: notices name repositories that may be protected
 *     flips/<owner>.<hash>         noted before a flip, until its notices are in the queue
 *     <key of a target>/
 *       <when>-<hash>.json         one notice for one target, oldest first; gone when it was told
 *     .lock                        held by the one daemon that tells
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { hasErrno } from '../errors.js';
import type { Disk } from '../storage/disk.js';
import {
  ensureDirectory,
  listIfThere,
  readFile,
  removeIfThere,
  replaceFile,
  syncDirectory,
} from '../storage/durable.js';
import { job } from '../storage/job.js';
import { formatNotice, type Notice } from './notice.js';

const PRIVATE = 0o700;
/** What waits for one target; beyond it the oldest goes, for what is newest matters most. */
const WAITING_MAX = 10_000;
const NOTICE_BYTES_MAX = 64 * 1024 * 1024;

export const deliveryLockPath = (spool: string) => join(spool, '.lock');
const flipsDirectory = (spool: string) => join(spool, 'flips');

/** A flip that is about to be, or was when its process died. */
export interface FlipNote {
  /** The token of the process. */
  readonly owner: string;
  readonly id: string;
  readonly snapshot: string;
  readonly base: string | null;
}

interface InSpool {
  /** An absolute path. */
  readonly spool: string;
}

/** Makes what is missing of the spool. */
export const prepareSpool = job(
  'fast',
  import.meta.url,
  function prepareSpool(disk: Disk, { spool }: InSpool): void {
    ensureDirectory(disk, spool, PRIVATE);
    ensureDirectory(disk, flipsDirectory(spool), PRIVATE);
  },
);

/** Notes a flip before it happens. When the process dies, the next start writes the notices. */
export const noteFlip = job(
  'fast',
  import.meta.url,
  function noteFlip(disk: Disk, { spool, note }: InSpool & { note: FlipNote }): void {
    prepareSpool(disk, { spool });
    const path = notePath(spool, note);
    replaceFile(disk, path, Buffer.from(JSON.stringify(note)), `${path}.tmp`, 0o600);
  },
);

export function forgetFlip(disk: Disk, { spool, note }: InSpool & { note: FlipNote }): void {
  removeIfThere(disk, notePath(spool, note));
}

export function isNoted(disk: Disk, { spool, note }: InSpool & { note: FlipNote }): boolean {
  return disk.statIfThere(notePath(spool, note)) !== undefined;
}

/** Returns the notes of flips whose notices are not in the queue yet. */
export const listFlipNotes = job(
  'fast',
  import.meta.url,
  function listFlipNotes(disk: Disk, { spool }: InSpool): FlipNote[] {
    const directory = flipsDirectory(spool);
    return listIfThere(disk, directory)
      .filter(({ name }) => !name.endsWith('.tmp'))
      .flatMap(({ name }) => {
        const text = readIfThere(disk, join(directory, name));
        return text === undefined ? [] : (parseNote(text) ?? []);
      });
  },
);

/** @returns how many older notices had to go */
export const spoolNotice = job(
  'fast',
  import.meta.url,
  function spoolNotice(
    disk: Disk,
    {
      spool,
      keys,
      notice,
    }: InSpool & { readonly keys: readonly string[]; readonly notice: Notice },
  ): number {
    let dropped = 0;
    for (const key of keys) {
      const directory = join(spool, key);
      prepareSpool(disk, { spool });
      ensureDirectory(disk, directory, PRIVATE);
      const path = join(directory, `${notice.at}-${hashOf(notice.id)}.json`);
      // Told of again, it is the same file.
      const temporary = join(directory, `.${hashOf(notice.id)}.tmp`);
      replaceFile(disk, path, Buffer.from(formatNotice(notice)), temporary, 0o600);
      const waiting = listNotices(disk, { spool, key });
      for (const name of waiting.slice(0, Math.max(0, waiting.length - WAITING_MAX))) {
        removeIfThere(disk, join(directory, name));
        dropped++;
      }
    }
    return dropped;
  },
);

/** The names of what waits for a target, oldest first. */
export const listNotices = job(
  'fast',
  import.meta.url,
  function listNotices(disk: Disk, { spool, key }: InSpool & { readonly key: string }) {
    return listIfThere(disk, join(spool, key))
      .map(({ name }) => name)
      .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
      .sort();
  },
);

interface NamedNotice extends InSpool {
  readonly key: string;
  readonly name: string;
}

/** Its text; undefined where there is none (any more). */
export const readNotice = job(
  'fast',
  import.meta.url,
  function readNotice(disk: Disk, { spool, key, name }: NamedNotice): string | undefined {
    return readIfThere(disk, join(spool, key, name));
  },
);

/** It was told, or given up. */
export const removeNotice = job(
  'fast',
  import.meta.url,
  function removeNotice(disk: Disk, { spool, key, name }: NamedNotice): void {
    removeIfThere(disk, join(spool, key, name));
    // Or a power cut would bring it back to be told again.
    syncDirectory(disk, join(spool, key));
  },
);

/** Removes what waits for targets that the settings name no more. @returns how many notices */
export const deleteUnknownFiles = job(
  'fast',
  import.meta.url,
  function deleteUnknownFiles(
    disk: Disk,
    { spool, keys }: InSpool & { readonly keys: readonly string[] },
  ): number {
    let dropped = 0;
    for (const { name: key } of listIfThere(disk, spool)) {
      if (!/^[0-9a-f]{16}$/.test(key) || keys.includes(key)) continue;
      for (const name of listNotices(disk, { spool, key })) {
        removeIfThere(disk, join(spool, key, name));
        dropped++;
      }
    }
    return dropped;
  },
);

function parseNote(text: string): FlipNote | undefined {
  try {
    return JSON.parse(text) as FlipNote;
  } catch {
    return undefined;
  }
}

function notePath(spool: string, { owner, id, snapshot }: FlipNote): string {
  return join(flipsDirectory(spool), `${owner}.${hashOf(`${id}@${snapshot}`)}`);
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

function readIfThere(disk: Disk, path: string): string | undefined {
  if (disk.statIfThere(path) === undefined) return undefined;
  try {
    return readFile(disk, path, NOTICE_BYTES_MAX).toString('utf8');
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}
