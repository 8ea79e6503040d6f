/** Returns the rejected drops that are still there, newest first, with data from their receipts. Read-only. */

import { join } from 'node:path';
import { pathOfFlatName, type RepositoryName, repositoriesOfDropName } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';
import type { Disk } from '../storage/disk.js';
import { readFile } from '../storage/durable.js';
import { job } from '../storage/job.js';
import { receiptFile, receiptsDirectory, rejectedDirectory } from './inbox-paths.js';
import { findInOwn, listOwn } from './own-directory.js';

export interface RejectedDrop {
  /** Its path in the inbox; derived from the name in `.rejected` when the receipt is missing. */
  readonly drop: string;
  /** Its flat name, as in `.rejected/`. */
  readonly claim: string;
  /** When it was claimed. */
  readonly at: Timestamp;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Receipts are short. A longer file is not a receipt of dropdock. */
const RECEIPT_BYTES_MAX = 1024 * 1024;
const TEXT_MAX = 2000;

export interface RejectedList {
  readonly drops: readonly RejectedDrop[];
  /** How many there are, including those that are not listed. */
  readonly total: number;
}

/**
 * @param request.count list only the newest so many
 * @param request.repository list only the drops that may belong to it
 */
export const listRejected = job(
  'background',
  import.meta.url,
  function listRejected(disk: Disk, { inbox, count, repository }: RejectedRequest): RejectedList {
    const all = listOwn(disk, rejectedDirectory(inbox))
      .filter(({ name }) => !isEmpty(disk, join(rejectedDirectory(inbox), name)))
      .flatMap(({ name }) => parseRejected(name) ?? [])
      .filter(({ claim }) => repository === undefined || mayBelongTo(claim, repository))
      .sort((a, b) => (a.at > b.at ? -1 : 1));
    const drops = all.slice(0, count).map(({ claim, at }) => ({
      drop: pathOfFlatName(claim),
      claim,
      at,
      ...readReceipt(disk, inbox, claim, at),
    }));
    return { drops, total: all.length };
  },
);

export interface RejectedRequest {
  readonly inbox: string;
  readonly count: number;
  readonly repository?: RepositoryName | undefined;
}

/** An uploader who took back an archive cannot delete the directory that held it. */
function isEmpty(disk: Disk, path: string): boolean {
  try {
    return disk.names(path).length === 0;
  } catch {
    return false;
  }
}

function mayBelongTo(claim: string, repository: RepositoryName): boolean {
  return repositoriesOfDropName(pathOfFlatName(claim)).includes(repository);
}

function parseRejected(file: string): Pick<RejectedDrop, 'claim' | 'at'> | undefined {
  const cut = file.lastIndexOf('@');
  const [claim, at] = [file.slice(0, cut), file.slice(cut + 1)];
  return cut > 0 && isTimestamp(at) ? { claim, at } : undefined;
}

/** Users with write permission may have put anything there: only short texts are used. */
function readReceipt(
  disk: Disk,
  inbox: string,
  name: string,
  at: Timestamp,
): Pick<RejectedDrop, 'code' | 'message' | 'hint'> & { drop?: string } {
  try {
    const bytes = findInOwn(disk, receiptsDirectory(inbox), (own) =>
      readFile(disk, own.at(receiptFile({ name, at })), RECEIPT_BYTES_MAX),
    );
    const receipt = JSON.parse(bytes?.toString('utf8') ?? '') as Record<string, unknown>;
    const text = (key: string) => {
      const value = receipt[key];
      return typeof value === 'string' ? value.slice(0, TEXT_MAX) : '';
    };
    const drop = text('drop');
    return {
      code: text('code'),
      message: text('message'),
      hint: text('hint'),
      ...(drop !== '' && { drop }),
    };
  } catch {
    return { code: '', message: 'The receipt is missing.', hint: '' };
  }
}
