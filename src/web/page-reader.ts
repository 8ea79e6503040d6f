/**
 * Reads the published tree for the page. Snapshots never change, so results are cached. Large snapshots are
 * read on a separate thread; concurrent requests share one read.
 */

import { LRUCache } from 'lru-cache';
import pTimeout from 'p-timeout';
import { DropdockError } from '../errors.js';
import type { ContentKind } from '../image/content-kind.js';
import type { Digest } from '../image/digest.js';
import type { RepositoryId } from '../image/names.js';
import type { Browse, ServedSnapshot, Source } from '../registry/source.js';
import type { SnapshotChanges } from '../repository/snapshot-changes.js';
import type { SnapshotFacts, SnapshotSummary, TagRow } from '../repository/summary.js';
import type { Timestamp } from '../repository/timestamp.js';
import { type ResolvedRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import {
  type ConfigDetails,
  type ManifestDetails,
  type Named,
  readConfigDetails,
  readManifestDetails,
} from './image-details.js';

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
const DETAILS_BYTES = 16 * 1024 * 1024;
/** Of a manifest or config that is read for the page; real ones have less than a tenth of this. */
const DOCUMENT_BYTES_MAX = 256 * 1024;
/** Facts that one request waits for at the same time. */
const FACTS_AT_ONCE = 100;
/** Maximum number of reads that wait for the thread; more are refused. */
const WAITING_MAX = 250;
/** Time until a damaged snapshot is read again. */
const DAMAGED_MS = 10_000;

export class PageBusy extends Error {}

export class PageReader {
  readonly #facts = new LRUCache<string, SnapshotFacts | 'damaged'>({ max: FACTS_MAX });
  /** By id and digest: a repository shows nothing that only another one has (I8). */
  readonly #manifests = detailsCache<ManifestDetails>();
  readonly #configs = detailsCache<ConfigDetails>();
  readonly #summaries: LRUCache<string, SnapshotSummary>;
  readonly #changes: LRUCache<string, readonly SnapshotChanges[]>;
  readonly #running = new Map<string, Promise<unknown>>();
  #policies = new Map<string, ResolvedRepository>();
  #names: Promise<readonly ResolvedRepository[]> = Promise.resolve([]);
  #namesMs = Number.NEGATIVE_INFINITY;

  constructor(readonly options: PageReaderOptions) {
    this.#summaries = new LRUCache({
      maxSize: SUMMARIES_BYTES,
      sizeCalculation: ({ text, byTag }) => 2 * text.length + 3 * byTag.byteLength + 500,
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

  /** Lists the repositories again at the next request: one may have been published. */
  forgetNames(): void {
    this.#namesMs = Number.NEGATIVE_INFINITY;
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
    const endMs = this.options.monotonicMs() + FACTS_MS;
    const facts: (SnapshotFacts | 'damaged' | 'unread' | undefined)[] = [];
    const read = async (id: RepositoryId) => {
      const snapshot = await this.current(id);
      return snapshot && this.facts(snapshot).catch(unreadIfBusy);
    };
    for (let at = 0; at < ids.length; at += FACTS_AT_ONCE) {
      const milliseconds = endMs - this.options.monotonicMs();
      const some = ids.slice(at, at + FACTS_AT_ONCE);
      if (milliseconds <= 0) {
        // Reading on would keep the thread busy for a page that has been answered.
        facts.push(...some.map(() => 'unread' as const));
        continue;
      }
      const limit = { milliseconds, fallback: () => 'unread' as const };
      facts.push(...(await Promise.all(some.map((id) => pTimeout(read(id), limit)))));
    }
    return facts;
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

  /** Returns `unread` if it takes longer, or if the snapshot cannot be read; reading continues. */
  summaryWithin(
    snapshot: ServedSnapshot,
    milliseconds: number,
  ): Promise<SnapshotSummary | 'unread' | undefined> {
    const read = this.summary(snapshot).catch((error): 'unread' => {
      if (error instanceof PageBusy || error instanceof DropdockError) return 'unread';
      throw error;
    });
    return pTimeout(read, { milliseconds, fallback: () => 'unread' as const });
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

  /** Returns what the lists show of a manifest. @param row of this snapshot */
  async glance(
    snapshot: ServedSnapshot,
    row: Pick<TagRow, 'digest' | 'platforms' | 'children'>,
  ): Promise<Glance> {
    const found = await this.manifest(snapshot, row.digest);
    const own = found?.annotations.items ?? [];
    if (row.children.length > 0) {
      const image = row.children.find(({ platform }) => !platform?.startsWith('unknown'));
      const part = image && (await this.glance(snapshot, { ...NO_PARTS, digest: image.digest }));
      const named = [...own, ...(part?.named ?? [])];
      return { kind: found?.kind ?? 'image', type: found?.type, platforms: row.platforms, named };
    }
    const { config, kind = 'image', type } = found ?? {};
    const read = kind === 'image' && config && (await this.config(snapshot, config.digest));
    const { platform, labels } = read || {};
    const platforms = platform === undefined ? row.platforms : [platform];
    return { kind, type, platforms, named: [...own, ...(labels?.items ?? [])] };
  }

  /** Returns undefined if the snapshot does not have it, or if it is too large or too odd to be shown. */
  async manifest(snapshot: ServedSnapshot, digest: string): Promise<ManifestDetails | undefined> {
    const key = `${snapshot.of.id}/${digest}`;
    const known = this.#manifests.get(key);
    if (known !== undefined) return known;
    const [found] = await snapshot.manifests(digest as Digest);
    const bytes = await found?.read();
    if (bytes === undefined || bytes.length > DOCUMENT_BYTES_MAX) return undefined;
    const details = readDetails(bytes, found?.mediaType, digest);
    if (details) this.#manifests.set(key, details);
    return details;
  }

  /** Returns undefined for a config that the snapshot lacks, and for one that is too large to be shown. */
  async config(snapshot: ServedSnapshot, digest: Digest): Promise<ConfigDetails | undefined> {
    const key = `${snapshot.of.id}/${digest}`;
    const known = this.#configs.get(key);
    if (known !== undefined) return known;
    const file = await snapshot.blob(digest);
    if (file === undefined) return undefined;
    try {
      if (file.size > DOCUMENT_BYTES_MAX) return undefined;
      const details = readConfigDetails(await file.readAll());
      this.#configs.set(key, details);
      return details;
    } finally {
      await file.close();
    }
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

/** What the list of tags shows of a manifest, and what a search looks at. */
export interface Glance {
  readonly kind: ContentKind;
  /** The type of an artifact. */
  readonly type: string | undefined;
  readonly platforms: readonly string[];
  /** Annotations and labels; of an index, also the labels of its first image. */
  readonly named: readonly Named[];
}

/** One odd manifest must not keep the others from being shown. */
function readDetails(
  bytes: Buffer,
  mediaType: string | undefined,
  digest: string,
): ManifestDetails | undefined {
  try {
    return readManifestDetails(bytes, mediaType, digest);
  } catch (error) {
    if (error instanceof DropdockError) return undefined;
    throw error;
  }
}

const NO_PARTS = { platforms: [], children: [] } as const;

function detailsCache<Details extends object>(): LRUCache<string, Details> {
  return new LRUCache({
    maxSize: DETAILS_BYTES,
    sizeCalculation: (details) => 200 + 2 * JSON.stringify(details).length,
  });
}
