/** Turns an outcome into a receipt and into fields of a log line. Pure. */
import { DropdockError, isSystemError } from './errors.js';
import type { Digest } from './image/digest.js';
import type { LeftOut, StagedContent } from './image/staged-content.js';

/** What a receipt needs of a published drop. A structural type, so that no import is needed. */
export interface PublishedOutcome {
  readonly status: 'published' | 'unchanged';
  readonly snapshot: string | null;
  readonly base: string | null;
  readonly moves: readonly {
    readonly tag: string;
    readonly from: Digest | null;
    readonly to: Digest | null;
  }[];
  readonly content: StagedContent;
  readonly ingested: Readonly<Record<string, number>>;
  readonly leftOut: readonly LeftOut[];
  readonly targets?: Readonly<Record<string, object>>;
}

export interface ReceiptFrame {
  /** The path of the drop in the inbox. */
  readonly drop: string;
  /** The user that it is from; undefined if unknown. */
  readonly by?: string | undefined;
  readonly repository: string | null;
  readonly id: string | null;
  /** The flat name of the drop, as in the names of its receipt and rejected drop. */
  readonly claim: string;
  /** Timestamps. */
  readonly claimedAt: string;
  readonly finishedAt: string;
  readonly tookMs: number;
  /** Why the drop stays in the inbox; undefined if it was removed. */
  readonly left?: string | undefined;
  /** Where a rejected drop is kept, relative to the inbox; undefined for a drop that stays where it is. */
  readonly kept?: string | undefined;
}

/** docs/receipts.md describes all fields. */
export function publishedReceipt(outcome: PublishedOutcome, frame: ReceiptFrame): object {
  return { version: 1, ...publishedPart(outcome), ...frameFields(frame) };
}

/** The section for one repository. */
export function publishedPart(outcome: PublishedOutcome): object {
  const { content } = outcome;
  const tagged = content.roots.flatMap(({ digest, tags }) => tags.map((tag) => ({ tag, digest })));
  const bytes = [...content.blobs, ...content.manifests].reduce((sum, { size }) => sum + size, 0);
  return {
    status: outcome.status,
    snapshot: outcome.snapshot,
    base: outcome.base,
    tags: tagged.map(({ tag, digest }) => {
      const move = outcome.moves.find((each) => each.tag === tag);
      return { tag, from: move ? move.from : digest, to: digest };
    }),
    removedTags: outcome.moves.filter(({ to }) => to === null).map(({ tag }) => tag),
    digests: content.roots.map(({ digest }) => digest),
    manifests: content.manifests.length,
    blobs: content.blobs.length,
    bytes,
    ingested: outcome.ingested,
    leftOut: outcome.leftOut.map(({ what, why }) => ({ what, why })),
    warnings: [
      ...(content.mistakes ?? []),
      ...content.warnings,
      ...heldBack(outcome).map(sentence),
    ],
    ...(outcome.targets && { targets: outcome.targets }),
  };
}

/** Returns what the drop contains but clients cannot pull. */
export function heldBack({ leftOut }: Pick<PublishedOutcome, 'leftOut'>): LeftOut[] {
  return leftOut.filter(({ isHeld }) => isHeld === true);
}

function sentence({ what, why }: LeftOut): string {
  return `not published: ${what} (${why})`;
}

/** The receipt of a bundle: one section per repository. */
export function bundleReceipt(
  status: 'published' | 'unchanged',
  repositories: readonly object[],
  frame: ReceiptFrame,
): object {
  return { version: 1, status, ...frameFields(frame), repositories };
}

/** A name inside a bundle for which there is no repository. */
export function refusedNamePart({ name, error }: { name: string; error: Error }): object {
  return { repository: null, id: null, name, ...refusedPart(error) };
}

export function refusedPart(error: Error): object {
  return { status: 'rejected', ...errorFields(error) };
}

export function rejectedReceipt(error: Error, frame: ReceiptFrame): object {
  const details = error instanceof DropdockError ? error.details : {};
  return {
    version: 1,
    status: 'rejected',
    ...frameFields(frame),
    ...errorFields(error),
    path: details.path ?? null,
    digest: details.digest ?? null,
    details,
    ...(frame.kept !== undefined && { kept: frame.kept, takeBack: takeBackOf(frame.kept) }),
  };
}

/** Returns the command with which an uploader takes back a rejected drop; to be run in the inbox. */
export function takeBackOf(kept: string): string {
  return `mv '${kept.replaceAll("'", "'\\''")}' DESTINATION`;
}

function frameFields(frame: ReceiptFrame): object {
  const { drop, by = null, repository, id, claim, claimedAt, finishedAt, tookMs, left } = frame;
  const fields = { drop, by, repository, id, claim, claimedAt, finishedAt, tookMs };
  return left === undefined ? fields : { ...fields, left };
}

/** Hints for some system errors. */
const ERRNO_HINTS: Readonly<Record<string, string>> = {
  EROFS:
    'Under systemd, add the path to ReadWritePaths=; see OTHER DIRECTORIES in dropdock.service(8).',
  EACCES: 'All files below published and state must belong to the user of the daemon.',
  ENOSPC: 'Free some space; the operation is retried automatically.',
};

/** Returns the code, message and hint of an error for a log line or receipt. */
export function errorFields(error: Error): { code: string; message: string; hint?: string } {
  if (error instanceof DropdockError) {
    const { code, message, hint } = error;
    return { code, message, hint };
  }
  const code = isSystemError(error) ? error.code : 'bug';
  // The hints are about files.
  const isListen = isSystemError(error) && error.syscall === 'listen';
  const hint = isListen ? undefined : ERRNO_HINTS[code];
  return { code, message: error.message, ...(hint && { hint }) };
}

export function formatReceipt(receipt: object): string {
  return `${JSON.stringify(receipt, undefined, 2)}\n`;
}
