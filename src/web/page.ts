/**
 * The page at `/`: checks permissions and collects the values that the views render. As in the registry, a
 * forbidden repository looks like one that does not exist.
 */
import type { IncomingMessage } from 'node:http';
import type { Caller } from '../auth/gate.js';
import { DropdockError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Answer } from '../registry/answer.js';
import type { PageHandler } from '../registry/endpoint.js';
import { NOBODYS_ID, Permission } from '../registry/permission.js';
import { isRefusal, type Refusal } from '../registry/refusal.js';
import { registryName } from '../registry/registry-name.js';
import type { ServedSnapshot } from '../registry/source.js';
import { findPage, findRows } from '../repository/summary.js';
import { type ResolvedRepository, resolveRepository } from '../settings/repository-policy.js';
import type { DaemonView } from './daemon-view.js';
import { type InboxView, inboxBrief, inboxFull, inboxPage, type LiveView } from './inbox-view.js';
import { Live } from './live.js';
import { answerAsset, answerHtml, answerNotice, PAGE_HEADERS } from './page-assets.js';
import { historyOf } from './page-history.js';
import { inboxFor } from './page-inbox.js';
import { PATHS, type Visitor } from './page-layout.js';
import { PageBusy, PageReader, type PageReaderOptions } from './page-reader.js';
import { type PageRoute, parsePageRoute } from './page-route.js';
import { repositoriesPage } from './repositories-view.js';
import { historyPage, tagsPage } from './repository-view.js';

export interface PageOptions extends PageReaderOptions {
  /** Undefined in `serve`. */
  readonly daemon: DaemonView | undefined;
  /** Authenticates an Authorization header; called again during a stream. */
  readonly identify: (authorization: string | undefined) => Promise<Caller>;
  /** The wall clock, for ages. */
  readonly nowMs: () => number;
  readonly onError: (error: Error) => void;
}

type RepositoryRoute = Extract<PageRoute, { kind: 'tags' | 'history' }>;

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
  readonly #live: Live;
  readonly #unsubscribe: (() => void) | undefined;

  constructor(readonly options: PageOptions) {
    const { settings, daemon, onError } = options;
    this.#permission = new Permission(settings);
    this.#reader = new PageReader(options);
    const { connections, idle } = settings.registry;
    this.#live = new Live({
      streamsMax: Math.ceil(connections * STREAMS_SHARE),
      heartbeatMs: Math.min(HEARTBEAT_MS, idle / 3),
      collectMs: 200,
      movingMs: 1000,
      isMoving: () => daemon?.isMoving() ?? false,
      onError,
    });
    this.#unsubscribe = daemon?.onChange(() => this.#live.changed());
  }

  /** Closes the event streams. */
  close(): void {
    this.#unsubscribe?.();
    this.#live.close();
  }

  find(url: string): ReturnType<PageHandler['find']> {
    const route = parsePageRoute(url);
    return route && ((caller, request) => this.#answerAny(route, caller, request));
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
        return this.#stream(route.view, caller, headers.authorization);
      case 'tags':
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
    return { user, maySignIn: this.#permission.hasSecrets };
  }

  #signIn(caller: Caller): Answer | Refusal {
    if (caller.kind !== 'user' && this.#permission.hasSecrets) {
      return { status: 401, code: 'UNAUTHORIZED' };
    }
    const headers = { ...PAGE_HEADERS, Location: PATHS.home, 'Cache-Control': 'no-store' };
    return { status: 303, headers: { ...headers, 'Content-Length': 0 }, body: undefined };
  }

  async #home(route: Extract<PageRoute, { kind: 'home' }>, caller: Caller) {
    const { filter } = route;
    const all = (await this.#reader.repositories()).filter(
      (policy) => policy.repository.includes(filter) && this.#permission.mayRead(caller, policy),
    );
    const { page, pages, skip } = findPage(all.length, route.page, REPOSITORIES_PER_PAGE);
    const wanted = all.slice(skip, skip + REPOSITORIES_PER_PAGE);
    const facts = await this.#reader.factsOf(wanted.map(({ id }) => id));
    const rows = wanted.flatMap(({ repository }, at) => {
      const found = facts[at];
      if (found === undefined) return [];
      // The settings can assign an id to another repository (I8).
      const isAnothers = typeof found === 'object' && found.repository !== repository;
      return isAnothers ? [] : [{ repository, facts: found }];
    });
    return repositoriesPage({
      repositories: { rows, matching: all.length, filter, page, pages },
      inbox: await this.#inbox(caller),
      visitor: this.#visitor(caller),
      nowMs: this.options.nowMs(),
    });
  }

  async #inbox(caller: Caller): Promise<InboxView | undefined> {
    const { daemon, settings } = this.options;
    if (daemon === undefined) return undefined;
    return inboxFor(caller, await daemon.drops(), { settings, permission: this.#permission });
  }

  #stream(view: LiveView, caller: Caller, authorization: string | undefined): Answer | Refusal {
    if (this.options.daemon === undefined) return { status: 404, code: 'NAME_UNKNOWN' };
    const key = `${view} ${caller.kind === 'user' ? `user ${authorization}` : 'anonymous'}`;
    const render = async () => {
      const now = await this.options.identify(authorization);
      if (now.kind === 'refused' || (now.kind !== 'busy' && !this.#mayLook(now))) return undefined;
      // Too many passwords are being checked; this one was right a moment ago, so the stream goes on.
      const shown = await this.#inbox(now.kind === 'busy' ? caller : now);
      const render = view === 'brief' ? inboxBrief : inboxFull;
      // Compared without ages: a send must not reveal a change of a drop the visitor may not see.
      return (
        shown && {
          text: render(shown, this.options.nowMs()).text,
          substance: render(shown, 0).text,
        }
      );
    };
    const headers = { ...PAGE_HEADERS, Vary: 'Authorization' };
    return this.#live.open(key, render, headers) ?? { status: 503, code: 'TOOMANYREQUESTS' };
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
          ? await this.#tags(snapshot, route, caller, request)
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
    request: IncomingMessage,
  ) {
    const summary = await this.#reader.summary(snapshot);
    if (summary === undefined || summary.facts.repository !== route.repository) return undefined;
    const { filter, order } = route;
    const wanted = { filter, order, page: route.page, perPage: TAGS_PER_PAGE };
    const { rows, ...found } = findRows(summary, wanted);
    const shown = await Promise.all(
      rows.map(async (row) => ({
        ...row,
        shownPlatforms: await this.#reader.platforms(snapshot, row),
      })),
    );
    return tagsPage(
      { ...found, facts: summary.facts, rows: shown, filter, order, ...registryName(request) },
      { visitor: this.#visitor(caller), nowMs: this.options.nowMs() },
    );
  }

  async #history(
    snapshot: ServedSnapshot,
    { repository, before }: Extract<PageRoute, { kind: 'history' }>,
    { id }: ResolvedRepository,
    caller: Caller,
  ) {
    const facts = await this.#reader.facts(snapshot);
    if (facts === undefined || facts === 'damaged' || facts.repository !== repository)
      return undefined;
    const wanted = { id, current: snapshot.of.name, before };
    const history = await historyOf(wanted, this.#reader, this.options.daemon);
    return historyPage(
      { facts, ...history },
      { visitor: this.#visitor(caller), nowMs: this.options.nowMs() },
    );
  }
}
