/**
 * `repos/<id>/current`: the object that contains the name of the current snapshot. It is written last, on
 * condition that it did not change since the publisher read it: flip and fencing in one request.
 */
import { DropdockError } from '../../errors.js';
import type { RepositoryId, RepositoryName } from '../../image/names.js';
import type { FlipDetails } from '../../repository/flip-details.js';
import type { SnapshotReason } from '../../repository/snapshot-file.js';
import { isTimestamp, type Timestamp } from '../../repository/timestamp.js';

const VERSION = 1;
/**
 * Flips and their drops in the history of a pointer. A receipt that is written later than that many flips
 * cannot be found.
 */
export const FLIPS_KEPT = 100;
const DROPS_KEPT = 1000;

export interface PointerFlip extends SnapshotReason, FlipDetails {
  readonly snapshot: Timestamp;
  /** When it became current, by the publisher's clock. */
  readonly at: Timestamp;
}

export interface Pointer {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly snapshot: Timestamp;
  readonly base: Timestamp | null;
  /** Grows by one with each flip, so that all bodies differ. */
  readonly generation: number;
  /** SHA-256 of the redirect file of this flip. */
  readonly redirectHash: string;
  /** Number of its tags, for lists. */
  readonly tags: number;
  /** The repository was removed; the snapshot only keeps content for running pulls. */
  readonly removed?: true;
  /** Newest last; the last entry is this flip. */
  readonly history: readonly PointerFlip[];
}

export function serialisePointer(pointer: Pointer): Buffer {
  const { history, ...rest } = pointer;
  const lines = history.map((flip) => `  ${JSON.stringify(flip)}`).join(',\n');
  const head = JSON.stringify({ version: VERSION, ...rest }).slice(1, -1);
  return Buffer.from(`{${head},\n "history": [\n${lines}\n ]}\n`);
}

/** @throws layout.unsafe */
export function parsePointer(bytes: Buffer, where: string): Pointer {
  try {
    const { version, ...pointer } = JSON.parse(bytes.toString('utf8')) as Pointer & {
      version: number;
    };
    if (version !== VERSION) throw new Error(`unknown version ${version}`);
    if (!isTimestamp(pointer.snapshot)) throw new Error('it contains no snapshot name');
    return pointer;
  } catch (cause) {
    throw new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
  }
}

/** Returns the successor of `before`, with `flip` added to its history. */
export function nextPointer(
  before: Pointer | undefined,
  flip: PointerFlip,
  facts: Pick<Pointer, 'repository' | 'id' | 'tags' | 'removed' | 'redirectHash'>,
): Pointer {
  return {
    ...facts,
    snapshot: flip.snapshot,
    base: before?.snapshot ?? null,
    generation: (before?.generation ?? 0) + 1,
    history: shorten([...(before?.history ?? []), flip]),
  };
}

function shorten(history: readonly PointerFlip[]): PointerFlip[] {
  let drops = 0;
  return history
    .slice(-FLIPS_KEPT)
    .reverse()
    .map((flip) => {
      drops += flip.drops.length;
      return drops > DROPS_KEPT && drops > flip.drops.length ? { ...flip, drops: [] } : flip;
    })
    .reverse();
}
