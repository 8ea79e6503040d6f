/** What was refused and still lies there, newest first, with what its receipts say. Reads only. */

import { pathOfFlatName } from '../image/names.js';
import { isTimestamp, type Timestamp } from '../repository/timestamp.js';
import type { Disk } from '../storage/disk.js';
import { readFile } from '../storage/durable.js';
import { job } from '../storage/job.js';
import { receiptFile, receiptsDirectory, rejectedDirectory } from './inbox-paths.js';
import { findInOwn, listOwn } from './own-directory.js';

export interface RejectedDrop {
  /** Its path as it lay in the inbox; where no receipt is left, what its name there stands for. */
  readonly drop: string;
  /** Its name as one component, as in `.rejected/`. */
  readonly claim: string;
  /** When it was claimed. */
  readonly at: Timestamp;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** A receipt is a page of text; what is longer is not ours. */
const RECEIPT_BYTES_MAX = 1024 * 1024;
const TEXT_MAX = 2000;

/** @param count of the newest so many */
export const listRejected = job(
  'background',
  import.meta.url,
  function listRejected(
    disk: Disk,
    { inbox, count }: { readonly inbox: string; readonly count: number },
  ): RejectedDrop[] {
    return listOwn(disk, rejectedDirectory(inbox))
      .flatMap(({ name }) => parseRejected(name) ?? [])
      .sort((a, b) => (a.at > b.at ? -1 : 1))
      .slice(0, count)
      .map(({ claim, at }) => ({
        drop: pathOfFlatName(claim),
        claim,
        at,
        ...readReceipt(disk, inbox, claim, at),
      }));
  },
);

function parseRejected(file: string): Pick<RejectedDrop, 'claim' | 'at'> | undefined {
  const cut = file.lastIndexOf('@');
  const [claim, at] = [file.slice(0, cut), file.slice(cut + 1)];
  return cut > 0 && isTimestamp(at) ? { claim, at } : undefined;
}

/** Whoever may write there may have put anything in its place: only short texts are taken from it. */
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
    return { code: '', message: 'Its receipt is gone.', hint: '' };
  }
}
