/**
 * The page at `/`: checks permissions and collects the values that the views render. As in the registry, a
 * forbidden repository looks like one that does not exist.
 */
import type { IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import type { Caller } from '../auth/gate.js';
import { DropdockError } from '../errors.js';
import { type Digest, isDigest } from '../image/digest.js';
import type { RepositoryId } from '../image/names.js';
import type { Answer } from '../registry/answer.js';
import type { PageHandler } from '../registry/endpoint.js';
import { NOBODYS_ID, Permission } from '../registry/permission.js';
import { isRefusal, type Refusal } from '../registry/refusal.js';
import { registryName } from '../registry/registry-name.js';
import type { ServedSnapshot } from '../registry/source.js';
import {
  findPage,
  findRow,
  findRows,
  type SnapshotFacts,
  type SnapshotSummary,
  type TagRow,
} from '../repository/summary.js';
import { type ResolvedRepository, resolveRepository } from '../settings/repository-policy.js';
import { LOCAL_TARGET } from '../settings/target-settings.js';
import type { DaemonView } from './daemon-view.js';
import { helpPage } from './help-view.js';
import type { Html } from './html.js';
import type { ManifestDetails } from './image-details.js';
import { imagePage } from './image-view.js';
import { type InboxView, inboxBrief, inboxFull, inboxPage, type LivePart } from './inbox-view.js';
import { Live, type Render, type Rendered } from './live.js';
import { answerAsset, answerHtml, answerNotice, PAGE_HEADERS } from './page-assets.js';
import { historyOf } from './page-history.js';
import { inboxFor } from './page-inbox.js';
import { PATHS, type Visitor } from './page-layout.js';
import { PageBusy, PageReader, type PageReaderOptions } from './page-reader.js';
import { type HomeList, type PageRoute, parsePageRoute, typedAddress } from './page-route.js';
import { NOTHING_FOUND, PageSearch } from './page-search.js';
import {
  type RepositoriesView,
  type RepositoryRow,
  repositoriesPage,
  repositoriesPart,
} from './repositories-view.js';
import { historyPage, tagsPage } from './repository-view.js';

export interface PageOptions extends PageReaderOptions {
  /** Undefined in `serve`. */
  readonly daemon: DaemonView | undefined;
  /** Authenticates an Authorization header; called again during a stream. */
  readonly identify: (authorization: string | undefined) => Promise<Caller>;
  /** The wall clock, for ages. */
  readonly nowMs: () => number;
  /** The version of dropdock, for the footer. */
  readonly version: string;
  readonly onError: (error: Error) => void;
}

type RepositoryRoute = Extract<PageRoute, { kind: 'tags' | 'image' | 'history' }>;
type LiveRoute = Extract<PageRoute, { kind: 'live' }>;

const REPOSITORIES_PER_PAGE = 100;
const TAGS_PER_PAGE = 100;
/** With a grace period of 0, a snapshot can be removed during a request; it is then retried. */
const TRIES = 3;
/** Maximum share of connections used by streams. */
const STREAMS_SHARE = 0.25;
const HEARTBEAT_MS = 15_000;

export class Page implements PageHandler {
  readonly #permission: Permission;
  readonly #reader: PageReader;
  readonly #search: PageSearch;
  readonly #live: Live;
  readonly #unsubscribe: (() => void) | undefined;

  constructor(readonly options: PageOptions) {
    const { settings, daemon, onError } = options;
    this.#permission = new Permission(settings);
    this.#reader = new PageReader(options);
    this.#search = new PageSearch(this.#reader, options.monotonicMs);
    const { connections, idle } = settings.registry;
    this.#live = new Live({
      streamsMax: Math.ceil(connections * STREAMS_SHARE),
      heartbeatMs: Math.min(HEARTBEAT_MS, idle / 3),
      collectMs: 200,
      movingMs: 1000,
      isMoving: () => daemon?.isMoving() ?? false,
      onError,
    });
    this.#unsubscribe = daemon?.onChange(() => {
      this.#reader.forgetNames();
      this.#live.changed();
    });
  }

  /** Closes the event streams. */
  close(): void {
    this.#unsubscribe?.();
    this.#live.close();
  }

  find(url: string, accept: string | undefined): ReturnType<PageHandler['find']> {
    const route = parsePageRoute(url);
    if (route) return (caller, request) => this.#answerAny(route, caller, request);
    // Nothing is looked up here: the address that it leads to tells whether the repository exists.
    const address = typedAddress(url, accept);
    return address === undefined ? undefined : async () => redirect(address);
  }

  async #answerAny(route: PageRoute, caller: Caller, request: IncomingMessage): Promise<Answer> {
    const answer = await this.#answer(route, caller, request).catch((error): Refusal => {
      if (error instanceof PageBusy) return { status: 503, code: 'UNKNOWN' };
      if (!(error instanceof DropdockError)) throw error;
      this.options.onError(error);
      return { status: 500, code: 'UNKNOWN' };
    });
    return isRefusal(answer) ? answerNotice(answer, this.#visitor(caller)) : answer;
  }

  async #answer(
    route: PageRoute,
    caller: Caller,
    request: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const { headers } = request;
    const asset = route.kind === 'asset' ? answerAsset(route.path, headers) : undefined;
    if (asset) return asset;
    if (caller.kind === 'busy') return { status: 429, code: 'TOOMANYREQUESTS' };
    if (caller.kind === 'refused' || !this.#mayLook(caller)) {
      return { status: 401, code: 'UNAUTHORIZED' };
    }
    const visitor = this.#visitor(caller);
    const nowMs = this.options.nowMs();
    switch (route.kind) {
      case 'sign-in':
        return this.#signIn(caller);
      case 'home':
        return answerHtml(await this.#home(route, caller), headers);
      case 'inbox':
        return answerHtml(inboxPage({ view: await this.#inbox(caller), visitor, nowMs }), headers);
      case 'live':
        return this.#stream(route, caller, headers.authorization);
      case 'help':
        return answerHtml(
          helpPage({ visitor, inboxPath: this.#inboxPath(caller), ...registryName(request) }),
          headers,
        );
      case 'tags':
      case 'image':
      case 'history':
        return this.#inRepository(route, caller, request);
      default:
        return { status: 404, code: 'NAME_UNKNOWN' };
    }
  }

  /** Nobody without a name sees anything where `anonymous` is false. */
  #mayLook(caller: Caller): boolean {
    return caller.kind === 'user' || this.options.settings.registry.anonymous;
  }

  #visitor(caller: Caller): Visitor {
    const user = caller.kind === 'user' ? caller.name : undefined;
    const version = this.#mayLook(caller) ? this.options.version : undefined;
    return { user, maySignIn: this.#permission.hasSecrets, version };
  }

  #signIn(caller: Caller): Answer | Refusal {
    if (caller.kind !== 'user' && this.#permission.hasSecrets) {
      return { status: 401, code: 'UNAUTHORIZED' };
    }
    return redirect(PATHS.home);
  }

  async #home(list: HomeList, caller: Caller) {
    const mayRead = await this.#readable(caller);
    const [repositories, tags, inbox] = await Promise.all([
      this.#repositories(list, caller),
      list.filter === '' ? NOTHING_FOUND : this.#search.find(mayRead, list.filter),
      this.#inbox(caller),
    ]);
    const looked = { visitor: this.#visitor(caller), nowMs: this.options.nowMs() };
    return repositoriesPage({ repositories, tags, inbox, ...looked });
  }

  async #readable(caller: Caller): Promise<ResolvedRepository[]> {
    const all = await this.#reader.repositories();
    return all.filter((policy) => this.#permission.mayRead(caller, policy));
  }

  async #repositories(list: HomeList, caller: Caller): Promise<RepositoriesView> {
    const { filter, order } = list;
    const readable = await this.#readable(caller);
    const matching = readable.filter(({ repository }) => repository.includes(filter));
    const { page, pages, skip } = findPage(matching.length, list.page, REPOSITORIES_PER_PAGE);
    const end = skip + REPOSITORIES_PER_PAGE;
    // In the order of names only the facts of this page are needed.
    const rows =
      order === 'name'
        ? await this.#rowsOf(matching.slice(skip, end))
        : sortRows(await this.#rowsOf(matching), order).slice(skip, end);
    const inboxPath = this.#inboxPath(caller);
    return { rows, matching: matching.length, filter, order, page, pages, inboxPath };
  }

  async #rowsOf(policies: readonly ResolvedRepository[]): Promise<RepositoryRow[]> {
    const facts = await this.#reader.factsOf(policies.map(({ id }) => id));
    return policies.flatMap(({ repository }, at) => {
      const found = facts[at];
      if (found === undefined) return [];
      // The settings can assign an id to another repository (I8).
      const isAnothers = typeof found === 'object' && found.repository !== repository;
      return isAnothers ? [] : [{ repository, facts: found }];
    });
  }

  /** The path on the host is only for visitors that may read everything. */
  #inboxPath(caller: Caller): string | undefined {
    const { daemon, settings } = this.options;
    const mayKnow = daemon !== undefined && this.#permission.mayReadAll(caller);
    return mayKnow ? resolve(settings.paths.inbox) : undefined;
  }

  async #inbox(caller: Caller): Promise<InboxView | undefined> {
    const { daemon, settings } = this.options;
    if (daemon === undefined) return undefined;
    return inboxFor(caller, await daemon.drops(), { settings, permission: this.#permission });
  }

  #stream(route: LiveRoute, caller: Caller, authorization: string | undefined): Answer | Refusal {
    if (this.options.daemon === undefined) return { status: 404, code: 'NAME_UNKNOWN' };
    const who = caller.kind === 'user' ? `user ${authorization}` : 'anonymous';
    const render: Render = async () => {
      const now = await this.options.identify(authorization);
      if (now.kind === 'refused' || (now.kind !== 'busy' && !this.#mayLook(now))) return undefined;
      // Too many passwords are being checked; this one was right a moment ago, so the stream goes on.
      return this.#liveParts(route, now.kind === 'busy' ? caller : now);
    };
    const headers = { ...PAGE_HEADERS, Vary: 'Authorization' };
    const key = `${JSON.stringify(route)} ${who}`;
    return this.#live.open(key, render, headers) ?? { status: 503, code: 'TOOMANYREQUESTS' };
  }

  async #liveParts(route: LiveRoute, caller: Caller): Promise<Rendered[] | undefined> {
    const inbox = await this.#inbox(caller);
    if (inbox === undefined) return undefined;
    const visitor = this.#visitor(caller);
    // Compared without ages: a send must not reveal a change of a drop the visitor may not see.
    const toPart = (part: LivePart, show: (nowMs: number) => Html): Rendered => ({
      part,
      text: show(this.options.nowMs()).text,
      substance: show(0).text,
    });
    if (route.view === 'full') return [toPart('inbox', (nowMs) => inboxFull(inbox, nowMs))];
    const repositories = await this.#repositories(route, caller);
    return [
      toPart('inbox', (nowMs) => inboxBrief(inbox, nowMs)),
      toPart('repositories', (nowMs) => repositoriesPart(repositories, { visitor, nowMs })),
    ];
  }

  async #inRepository(
    route: RepositoryRoute,
    caller: Caller,
    request: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const policy = resolveRepository(this.options.settings, route.repository);
    // A forbidden repository is looked up under an id that cannot exist, so that it takes as long as an absent one.
    const id: RepositoryId = this.#permission.mayRead(caller, policy) ? policy.id : NOBODYS_ID;
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      const snapshot = await this.#reader.current(id);
      if (snapshot === undefined) break;
      const shown =
        route.kind === 'tags'
          ? await this.#tags(snapshot, route, caller)
          : route.kind === 'image'
            ? await this.#image(snapshot, route, caller, request)
            : await this.#history(snapshot, route, policy, caller);
      if (shown) return answerHtml(shown, request.headers);
      if (await snapshot.stands()) break;
    }
    return this.#permission.unknown(caller);
  }

  /** Returns undefined for a removed snapshot, or one of another repository. */
  async #tags(
    snapshot: ServedSnapshot,
    route: Extract<PageRoute, { kind: 'tags' }>,
    caller: Caller,
  ) {
    const summary = await this.#reader.summary(snapshot);
    if (summary === undefined || summary.facts.repository !== route.repository) return undefined;
    const { filter, order } = route;
    const wanted = { filter, order, page: route.page, perPage: TAGS_PER_PAGE };
    const { rows, ...found } = findRows(summary, wanted);
    const shown = await Promise.all(
      rows.map(async (row) => ({ ...row, glance: await this.#reader.glance(snapshot, row) })),
    );
    return tagsPage(
      { ...found, facts: summary.facts, rows: shown, filter, order },
      { visitor: this.#visitor(caller), nowMs: this.options.nowMs() },
    );
  }

  /** Returns undefined also for an unknown tag or digest. */
  async #image(
    snapshot: ServedSnapshot,
    { repository, reference }: Extract<PageRoute, { kind: 'image' }>,
    caller: Caller,
    request: IncomingMessage,
  ) {
    const summary = await this.#reader.summary(snapshot);
    if (summary === undefined || summary.facts.repository !== repository) return undefined;
    const [held] = await snapshot.manifests(reference);
    if (held === undefined || (summary.facts.removed && !isDigest(reference))) return undefined;
    const tag = isDigest(reference) ? undefined : reference;
    const row = tag === undefined ? rowOfDigest(summary, reference) : findRow(summary, tag);
    const digest = row?.digest ?? held.digest;
    const manifest = await this.#reader.manifest(snapshot, digest);
    const image = await this.#firstImage(snapshot, manifest);
    const isImage = image?.kind === 'image' && image.config !== undefined;
    const config = isImage
      ? await this.#reader.config(snapshot, image.config?.digest as Digest)
      : undefined;
    const found = { facts: summary.facts, tag, digest, row, manifest, image, config };
    return imagePage(
      { ...found, ...registryName(request) },
      { visitor: this.#visitor(caller), nowMs: this.options.nowMs() },
    );
  }

  /** Returns the first image of an index, and any other manifest itself. */
  async #firstImage(
    snapshot: ServedSnapshot,
    manifest: ManifestDetails | undefined,
  ): Promise<ManifestDetails | undefined> {
    const first = manifest?.children.find(({ platform }) => !platform?.startsWith('unknown'));
    return first ? this.#reader.manifest(snapshot, first.digest) : manifest;
  }

  async #history(
    snapshot: ServedSnapshot,
    { repository, before }: Extract<PageRoute, { kind: 'history' }>,
    { id, targets }: ResolvedRepository,
    caller: Caller,
  ) {
    const facts = await this.#reader.facts(snapshot);
    if (facts === undefined || facts === 'damaged' || facts.repository !== repository)
      return undefined;
    const wanted = { id, current: snapshot.of.name, before };
    const history = await historyOf(wanted, this.#reader, this.options.daemon);
    const served = this.options.settings.registry.target;
    const isOnly = targets.length === 1 && served === LOCAL_TARGET;
    return historyPage(
      { facts, ...history, target: isOnly ? undefined : served },
      { visitor: this.#visitor(caller), nowMs: this.options.nowMs() },
    );
  }
}

/** Returns the row of the first tag with this digest. */
function rowOfDigest(summary: SnapshotSummary, digest: string): TagRow | undefined {
  const wanted = { order: 'tag', filter: digest, page: 1, perPage: TAGS_PER_PAGE } as const;
  return findRows(summary, wanted).rows.find((row) => row.digest === digest);
}

function redirect(address: string): Answer {
  const headers = { ...PAGE_HEADERS, Location: address, 'Cache-Control': 'no-store' };
  return { status: 303, headers: { ...headers, 'Content-Length': 0 }, body: undefined };
}

/** The largest or newest first; those whose facts are unknown last. */
function sortRows(rows: readonly RepositoryRow[], order: 'size' | 'age'): RepositoryRow[] {
  const keyOf = (facts: SnapshotFacts) => (order === 'size' ? facts.bytes : facts.snapshot);
  return [...rows].sort(({ facts: a }, { facts: b }) => {
    if (typeof a !== 'object' || typeof b !== 'object') {
      return Number(typeof b === 'object') - Number(typeof a === 'object');
    }
    const [one, other] = [keyOf(a), keyOf(b)];
    return one === other ? 0 : one > other ? -1 : 1;
  });
}
