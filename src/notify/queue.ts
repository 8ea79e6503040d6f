/**
 * The notification queue on disk: a crash loses no notification.
 *
 *   <spool>/                       mode 0700: notifications may name protected repositories
 *     flips/<owner>.<hash>         written before a flip, until its notifications are queued
 *     <key of a target>/
 *       <when>-<hash>.json         one notification for one target, oldest first; deleted after delivery
 *     .lock                        held by the one daemon that sends
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
/**
 * The maximum queue length of a target. Beyond it the oldest is dropped, because new notifications matter
 * more.
 */
const WAITING_MAX = 10_000;
const NOTICE_BYTES_MAX = 64 * 1024 * 1024;

export const deliveryLockPath = (spool: string) => join(spool, '.lock');
const flipsDirectory = (spool: string) => join(spool, 'flips');

/** A record of a flip that is about to happen, or was when its process died. */
export interface FlipNote {
  /** The id of the process. */
  readonly owner: string;
  readonly id: string;
  readonly snapshot: string;
  readonly base: string | null;
}

interface InSpool {
  /** An absolute path. */
  readonly spool: string;
}

/** Creates missing directories of the spool. */
export const prepareSpool = job(
  'fast',
  import.meta.url,
  function prepareSpool(disk: Disk, { spool }: InSpool): void {
    ensureDirectory(disk, spool, PRIVATE);
    ensureDirectory(disk, flipsDirectory(spool), PRIVATE);
  },
);

/** Records a flip before it happens. If the process dies, the next start writes the notifications. */
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

/** Returns the records of flips whose notifications are not queued yet. */
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

/** @returns how many older notifications were dropped */
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
      // A repeated notification replaces the same file.
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

/** Returns the file names in a target's queue, oldest first. */
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

/** Returns the text; undefined if the file does not exist. */
export const readNotice = job(
  'fast',
  import.meta.url,
  function readNotice(disk: Disk, { spool, key, name }: NamedNotice): string | undefined {
    return readIfThere(disk, join(spool, key, name));
  },
);

/** Deletes a notification that was delivered or dropped. */
export const removeNotice = job(
  'fast',
  import.meta.url,
  function removeNotice(disk: Disk, { spool, key, name }: NamedNotice): void {
    removeIfThere(disk, join(spool, key, name));
    // Otherwise the file could return after a power failure and be sent again.
    syncDirectory(disk, join(spool, key));
  },
);

/** Deletes the queues of targets that are no longer in the settings. @returns the number of notifications */
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
