/** The daemon's data for the page: inbox and history. `serve` has none. */
import type { RepositoryId, RepositoryName } from '../image/names.js';
import type { InboxDrop } from './inbox-view.js';

/** A drop and the repositories that decide which visitors may see it. */
export interface KnownDrop extends InboxDrop {
  readonly kind: 'running' | 'waiting' | 'rejected' | 'published';
  /**
   * Every repository it may belong to; a visitor must be allowed to read all of them. Empty if the name does
   * not tell (bundles, invalid names, unknown entries): then a visitor must be allowed to read everything.
   */
  readonly repositories: readonly RepositoryName[];
}

/** One flip of the history. */
export interface KnownFlip {
  readonly at: string;
  readonly snapshot: string;
  readonly why: string;
  readonly detail?: string;
  readonly drops: readonly { readonly drop: string }[];
  /** The users who made it. */
  readonly by?: readonly string[];
  readonly kept: boolean;
  readonly current: boolean;
}

export interface DaemonView {
  /** Returns the drops in display order. */
  drops(): Promise<readonly KnownDrop[]>;
  /** Newest first. */
  history(id: RepositoryId): Promise<readonly KnownFlip[]>;
  /** True while drops are published: their progress changes without events. */
  isMoving(): boolean;
  /** Registers a callback for changes of the drops. @returns a function that removes it */
  onChange(changed: () => void): () => void;
}
