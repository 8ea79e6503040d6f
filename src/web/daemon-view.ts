/** What only the process that publishes can tell the page. It hands this in; `serve` has none. */
import type { RepositoryId, RepositoryName } from '../image/names.js';
import type { InboxDrop } from './inbox-view.js';

/** A drop, and whose business it is. */
export interface KnownDrop extends InboxDrop {
  readonly kind: 'running' | 'waiting' | 'rejected' | 'published';
  /**
   * Every repository it may belong to: who may not read one of them is not told of it. Empty where
   * its name does not tell (bundles, names that cannot be read, strangers): then it is only for those
   * who may read everything.
   */
  readonly repositories: readonly RepositoryName[];
}

/** One flip, as the history has it. */
export interface KnownFlip {
  readonly at: string;
  readonly snapshot: string;
  readonly why: string;
  readonly detail?: string;
  readonly drops: readonly { readonly drop: string }[];
  readonly kept: boolean;
  readonly current: boolean;
}

export interface DaemonView {
  /** In the order in which they are shown. */
  drops(): Promise<readonly KnownDrop[]>;
  /** Newest first. */
  history(id: RepositoryId): Promise<readonly KnownFlip[]>;
  /** Something runs, and how far it is changes all the time. */
  isMoving(): boolean;
  /** Calls this whenever the drops have changed. @returns what ends that */
  onChange(changed: () => void): () => void;
}
