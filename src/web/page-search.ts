/**
 * The search over all repositories that a visitor may read: tags, digests and labels. It ends after a moment
 * and tells whether it has seen everything; what it has read is cached, so the next search gets further.
 */
import { findRows, type TagRow } from '../repository/summary.js';
import type { ResolvedRepository } from '../settings/repository-policy.js';
import type { Named } from './image-details.js';
import type { PageReader } from './page-reader.js';

export interface FoundTag {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  /** The label or annotation that matches; undefined if the tag or a digest does. */
  readonly label: Named | undefined;
}

export interface FoundTags {
  readonly found: readonly FoundTag[];
  /** False if time or room ran out. */
  readonly isComplete: boolean;
}

export const NOTHING_FOUND: FoundTags = { found: [], isComplete: true };

const TEXT_MIN = 2;
const FOUND_MAX = 50;
const SEARCH_MS = 1500;
/** Repositories that are read at the same time. */
const AT_ONCE = 8;
/** The newest tags of each repository, whose labels are read. */
const LABELLED_MAX = 100;
/** Searches at the same time; more find nothing. */
const SEARCHES_MAX = 4;

export class PageSearch {
  #running = 0;

  constructor(
    readonly reader: PageReader,
    readonly monotonicMs: () => number,
  ) {}

  async find(policies: readonly ResolvedRepository[], text: string): Promise<FoundTags> {
    if (text.length < TEXT_MIN) return NOTHING_FOUND;
    if (this.#running >= SEARCHES_MAX) return { found: [], isComplete: false };
    this.#running++;
    try {
      return await this.#findAll(policies, text);
    } finally {
      this.#running--;
    }
  }

  async #findAll(policies: readonly ResolvedRepository[], text: string): Promise<FoundTags> {
    const endMs = this.monotonicMs() + SEARCH_MS;
    const found: FoundTag[][] = policies.map(() => []);
    let count = 0;
    let next = 0;
    let isComplete = true;
    const mayContinue = () => count < FOUND_MAX && this.monotonicMs() < endMs;
    const work = async () => {
      for (let at = next++; at < policies.length; at = next++) {
        if (!mayContinue()) isComplete = false;
        if (!isComplete) return;
        const policy = policies[at] as ResolvedRepository;
        for await (const each of this.#findIn(policy, text, endMs)) {
          if (each !== 'nothing') {
            found[at]?.push(each);
            count++;
          }
          if (mayContinue()) continue;
          isComplete = false;
          break;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return { found: found.flat().slice(0, FOUND_MAX), isComplete };
  }

  /** Yields `nothing` after each tag that does not match, so that the search can end there. */
  async *#findIn(
    { id, repository }: ResolvedRepository,
    text: string,
    endMs: number,
  ): AsyncIterable<FoundTag | 'nothing'> {
    const snapshot = await this.reader.current(id);
    const limitMs = Math.max(endMs - this.monotonicMs(), 1);
    const summary = snapshot && (await this.reader.summaryWithin(snapshot, limitMs));
    if (!snapshot || summary === 'unread') return yield 'nothing';
    // The settings can assign an id to another repository (I8).
    if (summary?.facts.repository !== repository || summary.facts.removed) return;
    const toFound = ({ tag, digest }: TagRow, label?: Named) => ({
      repository,
      tag,
      digest,
      label,
    });
    const seen = new Set<string>();
    const named = { order: 'tag', filter: text, page: 1, perPage: FOUND_MAX } as const;
    for (const row of findRows(summary, named).rows) {
      seen.add(row.tag);
      yield toFound(row);
    }
    const newest = { order: 'age', filter: '', page: 1, perPage: LABELLED_MAX } as const;
    const lower = text.toLowerCase();
    for (const row of findRows(summary, newest).rows) {
      if (seen.has(row.tag)) continue;
      const { named } = await this.reader.glance(snapshot, row);
      const label = named.find((each) => each.join('=').toLowerCase().includes(lower));
      yield label ? toFound(row, label) : 'nothing';
    }
  }
}
