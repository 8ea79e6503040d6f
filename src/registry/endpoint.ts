/**
 * The read-only registry: one request in, one answer out. Every request asks the pivot once which
 * snapshot is current and is answered from that one. Who may not know of a repository cannot tell
 * it from one that does not exist.
 */
import type { IncomingMessage } from 'node:http';
import type { Caller, Gate } from '../access/gate.js';
import type { RepositoryId, RepositoryName } from '../image/names.js';
import { BLOBS } from '../objects/layout.js';
import { resolveRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { Timestamp } from '../snapshot/timestamp.js';
import { type Answer, answerRefusal } from './answer.js';
import { answerBlob, type BlobsBy } from './blobs.js';
import { answerCatalog, answerReferrers, answerTags, cutPage } from './discovery.js';
import { type Asked, answerManifest } from './manifests.js';
import type { Page as HumanPage } from './page.js';
import { parsePageRoute } from './page-route.js';
import { NOBODYS_ID, Permission } from './permission.js';
import { isAway } from './pointers.js';
import { isRefusal, type Refusal, refusalHeaders } from './refusal.js';
import { type Page, parseRoute, type Route } from './route.js';
import type { ServedSnapshot, Source } from './source.js';

export interface EndpointOptions {
  readonly source: Source;
  readonly settings: Settings;
  readonly gate: Gate;
  /** What people see at `/`; left out where there is no page. */
  readonly page?: HumanPage | undefined;
  /** Somebody said a name and a password that are not right. */
  readonly onRefused: (user: string, request: IncomingMessage) => void;
}

const CATALOG_PAGE_MAX = 1000;
/** A snapshot can go only after the grace period; with none set, a request may meet that. */
const TRIES = 3;
const API_VERSION = { 'Docker-Distribution-Api-Version': 'registry/2.0' };

type RepositoryRoute = Exclude<Route, { kind: 'base' | 'catalog' | 'tree' }>;

export class Endpoint {
  readonly #blobsBy: BlobsBy;
  readonly #permission: Permission;

  constructor(readonly options: EndpointOptions) {
    const { settings } = options;
    this.#blobsBy = blobsBy(settings);
    this.#permission = new Permission(settings);
  }

  async answer(request: IncomingMessage): Promise<Answer> {
    const { method = '', url = '', headers } = request;
    const shown = await this.#answerOnPage(method, url, request);
    if (shown) return shown;
    const answer = await this.#answer(method, url, request).catch(laterIfAway);
    const done = isRefusal(answer) ? answerRefusal(answer, refusalHeaders(answer)) : answer;
    if (done.status === 401 || headers.authorization !== undefined) {
      return { ...done, headers: { ...done.headers, ...API_VERSION, Vary: vary(done) } };
    }
    return { ...done, headers: { ...done.headers, ...API_VERSION } };
  }

  async #answer(method: string, url: string, request: IncomingMessage): Promise<Answer | Refusal> {
    const route = parseRoute(url);
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, code: 'UNSUPPORTED' };
    const caller = await this.options.gate.identify(request.headers.authorization);
    if (caller.kind === 'busy') return { status: 429, code: 'TOOMANYREQUESTS' };
    if (caller.kind === 'refused') {
      this.options.onRefused(caller.name, request);
      return { status: 401, code: 'UNAUTHORIZED' };
    }
    if (isRefusal(route)) return route;
    if (route.kind === 'base') return this.#base(caller, request);
    if (route.kind === 'catalog') return this.#catalog(caller, route, request);
    if (route.kind !== 'tree') return this.#inRepository(caller, route, request);
    return this.#inRepository(caller, this.#fromTree(route), request, route.snapshot);
  }

  /** Undefined for what is not the page's. */
  async #answerOnPage(
    method: string,
    url: string,
    request: IncomingMessage,
  ): Promise<Answer | undefined> {
    const { page, gate, onRefused } = this.options;
    const route = page && parsePageRoute(url);
    if (route === undefined || (method !== 'GET' && method !== 'HEAD')) return undefined;
    const caller = await gate.identify(request.headers.authorization);
    if (caller.kind === 'refused') onRefused(caller.name, request);
    return page?.answer(route, caller, request);
  }

  /** end-1. */
  #base(caller: Caller, { headers }: IncomingMessage): Answer | Refusal {
    const isAnonymous = caller.kind === 'anonymous';
    const { anonymous } = this.options.settings.registry;
    const saidNothing = headers.authorization === undefined;
    if (isAnonymous && !anonymous) return { status: 401, code: 'UNAUTHORIZED' };
    if (
      isAnonymous &&
      this.#permission.hasSecrets &&
      saidNothing &&
      asksOnlyHere(headers['user-agent'])
    ) {
      return { status: 401, code: 'UNAUTHORIZED' };
    }
    const body = Buffer.from('{}');
    return {
      status: 200,
      headers: {
        'Content-Type': 'application/json',
        'Content-Length': body.length,
        'Cache-Control': 'no-store',
      },
      body,
    };
  }

  async #inRepository(
    caller: Caller,
    route: RepositoryRoute,
    request: IncomingMessage,
    name?: Timestamp,
  ): Promise<Answer | Refusal> {
    const { settings, source } = this.options;
    const policy = resolveRepository(settings, route.repository);
    const mayRead = this.#permission.mayRead(caller, policy);
    for (let attempt = 1; ; attempt++) {
      // What may not be read is looked for under a name that nobody can have: forbidden takes as
      // long as absent does.
      const id = mayRead ? policy.id : NOBODYS_ID;
      const snapshot = await (name ? source.at({ id, name }) : source.current(id));
      if (snapshot === undefined) return this.#permission.unknown(caller);
      const isPrivate = policy.protected || !settings.registry.anonymous;
      const asked = { headers: request.headers, isPrivate, isHead: request.method === 'HEAD' };
      const isIts = (await snapshot.repository()) === route.repository;
      const answer = isIts
        ? await this.#fromSnapshot(snapshot, route, asked)
        : this.#permission.unknown(caller);
      if (isIts && answer.status !== 404) return answer;
      if ((await snapshot.stands()) || attempt === TRIES) return answer;
    }
  }

  #fromTree(route: Extract<Route, { kind: 'tree' }>): RepositoryRoute {
    const { repository } = resolveRepositoryById(this.options.settings, route.id);
    if ('blob' in route) return { kind: 'blob', repository, digest: route.blob };
    return { kind: 'manifest', repository, reference: route.reference, form: route.form };
  }

  #fromSnapshot(
    snapshot: ServedSnapshot,
    route: RepositoryRoute,
    asked: Asked & { readonly isHead: boolean },
  ): Promise<Answer | Refusal> {
    switch (route.kind) {
      case 'manifest':
        return answerManifest(snapshot, route, asked);
      case 'blob':
        return answerBlob(snapshot, route, this.#blobsBy, asked);
      case 'tags':
        return answerTags(snapshot, route, asked);
      case 'referrers':
        return answerReferrers(snapshot, route, asked);
    }
  }

  async #catalog(
    caller: Caller,
    page: Page,
    { headers }: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const { settings, source } = this.options;
    if (caller.kind === 'anonymous' && !settings.registry.anonymous)
      return this.#permission.unknown(caller);
    const policies = (await source.ids())
      .map((id) => resolveRepositoryById(settings, id))
      .filter((policy) => this.#permission.mayRead(caller, policy));
    const byName = new Map(policies.map((policy) => [policy.repository as string, policy.id]));
    const n = Math.min(page.n ?? CATALOG_PAGE_MAX, CATALOG_PAGE_MAX);
    const { items, next } = cutPage([...byName.keys()].sort(), { n, last: page.last });
    const there = await Promise.all(
      items.map((name) => this.#isThere(byName.get(name) as RepositoryId, name as RepositoryName)),
    );
    const names = items.filter((_name, at) => there[at]);
    return answerCatalog(
      names,
      next,
      { ...page, n },
      { headers, isPrivate: this.#permission.hasSecrets },
    );
  }

  async #isThere(id: RepositoryId, name: RepositoryName): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      const snapshot = await this.options.source.current(id);
      if (snapshot === undefined) return false;
      if ((await snapshot.repository()) === name) return !(await snapshot.isRemoved());
      if ((await snapshot.stands()) || attempt === TRIES) return false;
    }
  }
}

/**
 * Clients that show their password only if `/v2/` asks for it: containers/image (skopeo, podman,
 * buildah, CRI-O) takes its challenges from there and nowhere else (docker_client.go,
 * detectProperties). Everybody else gets 200 there, and is asked where it is needed: Docker's classic
 * store cannot pull without a password from a registry that asks for one at `/v2/`.
 */
function asksOnlyHere(userAgent = ''): boolean {
  return /\b(?:containers|skopeo|libpod|buildah|cri-o|podman)\//i.test(userAgent);
}

/** What cannot be read now is never said to be unknown. */
function laterIfAway(error: Error): Refusal {
  if (!isAway(error)) throw error;
  return { status: 503, code: 'UNKNOWN', message: AWAY };
}

const AWAY = 'the object store this registry reads cannot be reached; come again later';

function vary({ headers }: Answer): string {
  return [headers.Vary, 'Authorization'].filter(Boolean).join(', ');
}

function blobsBy({ registry, targets }: Settings): BlobsBy {
  const { target, blobs, blobsUrl, accelPrefix } = registry;
  const store = targets[target];
  if (blobs === 'redirect' || (blobs === 'auto' && store?.type === 's3')) {
    const publicUrl = store?.type === 's3' ? store.publicUrl : undefined;
    const objects = publicUrl && `${publicUrl.replace(/\/*$/, '')}/${BLOBS}{digest}`;
    return { how: 'redirect', url: blobsUrl ?? objects };
  }
  return blobs === 'x-accel' ? { how: 'x-accel', prefix: accelPrefix } : { how: 'stream' };
}
