/**
 * Reads the published tree for the page. Snapshots never change, so results are cached. Large snapshots are
 * read on a separate thread; concurrent requests share one read.
 */

import { LRUCache } from 'lru-cache';
import pTimeout from 'p-timeout';
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { platformName } from '../image/manifest.js';
import type { RepositoryId } from '../image/names.js';
import type { Browse, ServedSnapshot, Source } from '../registry/source.js';
import type { SnapshotChanges } from '../repository/snapshot-changes.js';
import type { SnapshotFacts, SnapshotSummary, TagRow } from '../repository/summary.js';
import type { Timestamp } from '../repository/timestamp.js';
import { type ResolvedRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';

export interface PageReaderOptions {
  readonly source: Source;
  readonly settings: Settings;
  /** Returns the time of the monotonic clock (ms). */
  readonly monotonicMs: () => number;
}

/** How long a list of repositories is cached. */
const NAMES_MS = 1000;
/** How long a list of repositories waits for facts that are not cached. */
const FACTS_MS = 1500;
const FACTS_MAX = 20_000;
const SUMMARIES_BYTES = 48 * 1024 * 1024;
const CHANGES_BYTES = 8 * 1024 * 1024;
const CONFIG_BYTES_MAX = 1024 * 1024;
/** Maximum number of reads that wait for the thread; more are refused. */
const WAITING_MAX = 250;
/** Time until a damaged snapshot is read again. */
const DAMAGED_MS = 10_000;

export class PageBusy extends Error {}

export class PageReader {
  readonly #facts = new LRUCache<string, SnapshotFacts | 'damaged'>({ max: FACTS_MAX });
  readonly #platforms = new LRUCache<string, string>({ max: FACTS_MAX });
  readonly #summaries: LRUCache<string, SnapshotSummary>;
  readonly #changes: LRUCache<string, readonly SnapshotChanges[]>;
  readonly #running = new Map<string, Promise<unknown>>();
  #policies = new Map<string, ResolvedRepository>();
  #names: Promise<readonly ResolvedRepository[]> = Promise.resolve([]);
  #namesMs = Number.NEGATIVE_INFINITY;

  constructor(readonly options: PageReaderOptions) {
    this.#summaries = new LRUCache({
      maxSize: SUMMARIES_BYTES,
      sizeCalculation: ({ text, byTag }) => 2 * text.length + 2 * byTag.byteLength + 500,
    });
    this.#changes = new LRUCache({
      maxSize: CHANGES_BYTES,
      sizeCalculation: (all) => 100 + JSON.stringify(all).length,
    });
  }

  /** Returns every repository that has a pivot, sorted by name. */
  repositories(): Promise<readonly ResolvedRepository[]> {
    const nowMs = this.options.monotonicMs();
    if (nowMs - this.#namesMs > NAMES_MS) {
      this.#namesMs = nowMs;
      this.#names = this.#list();
    }
    return this.#names;
  }

  async #list(): Promise<readonly ResolvedRepository[]> {
    const { source, settings } = this.options;
    const ids = await source.ids();
    const before = this.#policies;
    this.#policies = new Map(
      ids.map((id) => [id, before.get(id) ?? resolveRepositoryById(settings, id)]),
    );
    return [...this.#policies.values()].sort((a, b) => (a.repository < b.repository ? -1 : 1));
  }

  current(id: RepositoryId): Promise<ServedSnapshot | undefined> {
    return this.options.source.current(id);
  }

  /** Returns facts in the order of the ids: undefined for a removed snapshot, `unread` after FACTS_MS. */
  async factsOf(
    ids: readonly RepositoryId[],
  ): Promise<(SnapshotFacts | 'damaged' | 'unread' | undefined)[]> {
    const read = async (id: RepositoryId) => {
      const snapshot = await this.current(id);
      return snapshot && this.facts(snapshot).catch(unreadIfBusy);
    };
    const limit = { milliseconds: FACTS_MS, fallback: () => 'unread' as const };
    return Promise.all(ids.map((id) => pTimeout(read(id), limit)));
  }

  async facts({ path, of }: ServedSnapshot): Promise<SnapshotFacts | 'damaged' | undefined> {
    const known = this.#facts.get(path);
    if (known !== undefined) return known;
    try {
      const facts = await this.#once('facts', of);
      if (facts) this.#facts.set(path, facts);
      return facts;
    } catch (error) {
      if (!(error instanceof DropdockError) || error.code !== 'layout.unsafe') throw error;
      this.#facts.set(path, 'damaged', { ttl: DAMAGED_MS });
      return 'damaged';
    }
  }

  /** Returns undefined for a removed snapshot. @throws layout.unsafe, PageBusy */
  async summary({ path, of }: ServedSnapshot): Promise<SnapshotSummary | undefined> {
    const known = this.#summaries.get(path);
    if (known !== undefined) return known;
    const summary = await this.#once('summary', of);
    if (summary) this.#summaries.set(path, summary);
    return summary;
  }

  /** Returns the changes from this snapshot back, newest first. @throws layout.unsafe, PageBusy */
  async changes(
    id: RepositoryId,
    snapshot: Timestamp,
    count: number,
  ): Promise<readonly SnapshotChanges[]> {
    const key = `${id}/${snapshot}/${count}`;
    const known = this.#changes.get(key);
    if (known !== undefined) return known;
    const found = await this.#shared(`changes ${key}`, () =>
      this.options.source.browse.changes({ id, name: snapshot }, count),
    );
    this.#changes.set(key, found);
    return found;
  }

  /** Returns platforms: from an image's config, or from an index itself. */
  async platforms(snapshot: ServedSnapshot, row: TagRow): Promise<readonly string[]> {
    if (row.config === null) return row.platforms;
    const known = this.#platforms.get(row.config);
    if (known !== undefined) return known === '' ? [] : [known];
    const platform = await readPlatform(snapshot, row.config as Digest);
    this.#platforms.set(row.config, platform);
    return platform === '' ? [] : [platform];
  }

  #once<What extends 'facts' | 'summary'>(
    what: What,
    of: ServedSnapshot['of'],
  ): ReturnType<Browse[What]> {
    const { browse } = this.options.source;
    const key = `${what} ${of.id}/${of.name}`;
    return this.#shared<unknown>(key, () => browse[what](of)) as ReturnType<Browse[What]>;
  }

  /** Shares one running read between concurrent requests. */
  #shared<T>(key: string, make: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key);
    if (running !== undefined) return running as Promise<T>;
    if (this.#running.size >= WAITING_MAX) return Promise.reject(new PageBusy());
    const made = make().finally(() => this.#running.delete(key));
    this.#running.set(key, made);
    return made;
  }
}

function unreadIfBusy(error: unknown): 'unread' {
  if (error instanceof PageBusy) return 'unread';
  throw error;
}

const PLATFORM_MAX = 60;

/** Returns an empty text without a config or without a platform in it. */
async function readPlatform(snapshot: ServedSnapshot, config: Digest): Promise<string> {
  const file = await snapshot.blob(config);
  if (file === undefined) return '';
  try {
    if (file.size > CONFIG_BYTES_MAX) return '';
    const bytes = await file.readAll();
    if (bytes[0] !== 0x7b) return '';
    const { os, architecture, variant } = JSON.parse(bytes.toString('utf8')) as Config;
    if (typeof os !== 'string' || typeof architecture !== 'string') return '';
    const platform = { os, architecture, ...(typeof variant === 'string' && { variant }) };
    return (platformName(platform) ?? '').slice(0, PLATFORM_MAX);
  } catch (error) {
    if (error instanceof SyntaxError) return '';
    throw error;
  } finally {
    await file.close();
  }
}

type Config = Readonly<Record<'os' | 'architecture' | 'variant', unknown>>;
