/**
 * The read-only registry: returns one response for each request. Each request reads the pivot once to find
 * the current snapshot, and is answered from that snapshot. A caller without access to a repository cannot
 * distinguish it from one that does not exist.
 */
import type { IncomingMessage } from 'node:http';
import type { Caller, Gate } from '../auth/gate.js';
import { parseBearer } from '../auth/htpasswd.js';
import { type Access, CATALOG_ACCESS, includesAccess, pullAccess } from '../auth/scope.js';
import { SERVICE, type Tokens } from '../auth/tokens.js';
import type { RepositoryId, RepositoryName } from '../image/names.js';
import type { Timestamp } from '../repository/timestamp.js';
import { resolveRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import { type Answer, answerRefusal } from './answer.js';
import { answerBlob, type BlobsBy } from './blobs.js';
import { challenges } from './challenge.js';
import { answerCatalog, answerReferrers, answerTags, cutPage } from './discovery.js';
import { type Asked, answerManifest } from './manifests.js';
import { NOBODYS_ID, Permission } from './permission.js';
import { isRefusal, type Refusal, refusalHeaders } from './refusal.js';
import { registryName } from './registry-name.js';
import { type Page, parseRoute, type Route } from './route.js';
import { isAway, type ServedSnapshot, type Source } from './source.js';
import { answerToken } from './token-endpoint.js';

/** The web page, served beside the registry. */
export interface PageHandler {
  /**
   * @param accept the Accept header: browsers ask for HTML, clients of the registry do not
   * @returns the handler for this URL; undefined if the URL does not belong to the page
   */
  find(
    url: string,
    accept: string | undefined,
  ): ((caller: Caller, request: IncomingMessage) => Promise<Answer>) | undefined;
}

export interface EndpointOptions {
  readonly source: Source;
  readonly settings: Settings;
  readonly blobsBy: BlobsBy;
  readonly gate: Gate;
  /** Undefined if no passwords are configured: then every caller is anonymous. */
  readonly tokens?: Tokens | undefined;
  /** The web page at `/`; undefined if it is disabled. */
  readonly page?: PageHandler | undefined;
  /** Called when a user name or password is wrong. */
  readonly onRefused: (user: string, request: IncomingMessage) => void;
}

const CATALOG_PAGE_MAX = 1000;
/**
 * A snapshot is deleted only after the grace period; without one, a request may find its snapshot deleted.
 */
const TRIES = 3;
const API_VERSION = { 'Docker-Distribution-Api-Version': 'registry/2.0' };

type RepositoryRoute = Exclude<Route, { kind: 'base' | 'catalog' | 'tree' | 'token' }>;

/** The authenticated caller of a request. */
interface Asker {
  readonly caller: Caller;
  /** The access that the token grants; undefined without a token, and for a password. */
  readonly access?: readonly Access[];
}

export class Endpoint {
  readonly #permission: Permission;

  constructor(readonly options: EndpointOptions) {
    this.#permission = new Permission(options.settings);
  }

  async answer(request: IncomingMessage): Promise<Answer> {
    const { method = '', url = '', headers } = request;
    const shown = await this.#answerOnPage(method, url, request);
    if (shown) return shown;
    const route = parseRoute(url);
    const answer = await this.#answer(method, route, request).catch(laterIfAway);
    const done = isRefusal(answer)
      ? answerRefusal(answer, this.#refusalHeaders(answer, route, request))
      : answer;
    if (done.status === 401 || headers.authorization !== undefined) {
      return { ...done, headers: { ...done.headers, ...API_VERSION, Vary: vary(done) } };
    }
    return { ...done, headers: { ...done.headers, ...API_VERSION } };
  }

  async #answer(
    method: string,
    route: Route | Refusal,
    request: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const { tokens } = this.options;
    if (tokens && !isRefusal(route) && route.kind === 'token') {
      const isAsked = method === 'GET' || method === 'POST';
      return isAsked
        ? this.#token(route.query, tokens, request)
        : { status: 405, code: 'UNSUPPORTED' };
    }
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, code: 'UNSUPPORTED' };
    const asker = await this.#identify(request);
    if (isRefusal(asker)) return asker;
    if (isRefusal(route)) return route;
    switch (route.kind) {
      case 'base':
        return this.#base(asker, request);
      case 'catalog':
        return this.#catalog(asker, route, request);
      case 'token':
        return { status: 404, code: 'NAME_UNKNOWN' };
      case 'tree':
        return this.#inRepository(asker, this.#fromTree(route), request, route.snapshot);
      default:
        return this.#inRepository(asker, route, request);
    }
  }

  async #identify(request: IncomingMessage): Promise<Asker | Refusal> {
    const { gate, tokens, onRefused } = this.options;
    const { authorization } = request.headers;
    const token = tokens && parseBearer(authorization);
    if (token !== undefined) {
      // Tokens often expire in normal use and cannot be guessed, so an invalid one is not logged.
      const holder = await tokens?.identify(token);
      return holder ?? { status: 401, code: 'UNAUTHORIZED', token: 'invalid_token' };
    }
    const caller = await gate.identify(authorization);
    if (caller.kind === 'busy') return { status: 429, code: 'TOOMANYREQUESTS' };
    if (caller.kind !== 'refused') return { caller };
    onRefused(caller.name, request);
    return { status: 401, code: 'UNAUTHORIZED' };
  }

  async #token(
    query: URLSearchParams,
    tokens: Tokens,
    request: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const { gate, settings, onRefused } = this.options;
    const anonymous = () => settings.registry.anonymous;
    const { answer, refused } = await answerToken(request, query, { gate, tokens, anonymous });
    if (refused !== undefined) onRefused(refused, request);
    return answer;
  }

  #refusalHeaders(
    refusal: Refusal,
    route: Route | Refusal,
    request: IncomingMessage,
  ): Answer['headers'] {
    const headers = refusalHeaders(refusal);
    const { tokens, settings } = this.options;
    const kind = isRefusal(route) ? undefined : route.kind;
    if (tokens === undefined) return headers;
    // The token endpoint accepts passwords only, so it sends no Bearer challenge.
    if (kind === 'token') return refusal.status === 405 ? { Allow: 'GET, POST' } : headers;
    if (refusal.status !== 401) return headers;
    const { registry, isEncrypted } = registryName(request);
    const asked = `${isEncrypted ? 'https' : 'http'}://${registry}/v2/token`;
    const challenge = {
      realm: settings.registry.tokenUrl ?? asked,
      service: SERVICE,
      access: isRefusal(route) ? undefined : accessFor(route),
      withBasic: kind !== 'base',
    };
    return { ...headers, 'WWW-Authenticate': challenges(challenge, refusal) };
  }

  /** Returns undefined if the URL does not belong to the page. */
  async #answerOnPage(
    method: string,
    url: string,
    request: IncomingMessage,
  ): Promise<Answer | undefined> {
    const { page, gate, onRefused } = this.options;
    const answer = page?.find(url, request.headers.accept);
    if (answer === undefined || (method !== 'GET' && method !== 'HEAD')) return undefined;
    const caller = await gate.identify(request.headers.authorization);
    if (caller.kind === 'refused') onRefused(caller.name, request);
    return answer(caller, request);
  }

  /**
   * end-1. If passwords are configured, a request without credentials is sent to the token endpoint: only
   * from this response do Docker's engine and containers/image (skopeo, podman, CRI-O) learn how to send a
   * password later. A client without a password gets an anonymous token, or continues without one.
   */
  #base({ caller }: Asker, { headers }: IncomingMessage): Answer | Refusal {
    const saidNothing = headers.authorization === undefined;
    const isAsked = this.options.tokens !== undefined && saidNothing;
    if (caller.kind === 'anonymous' && (isAsked || !this.options.settings.registry.anonymous)) {
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
    asker: Asker,
    route: RepositoryRoute,
    request: IncomingMessage,
    name?: Timestamp,
  ): Promise<Answer | Refusal> {
    const { settings, source } = this.options;
    // Checked before the lookup, so that the response does not reveal what exists: only the scope of the
    // token counts.
    if (!covers(asker, pullAccess(route.repository))) return OUT_OF_SCOPE;
    const policy = resolveRepository(settings, route.repository);
    const mayRead = this.#permission.mayRead(asker.caller, policy);
    for (let attempt = 1; ; attempt++) {
      // A forbidden repository is looked up under an impossible id, so that the response takes as long as for
      // one that does not exist.
      const id = mayRead ? policy.id : NOBODYS_ID;
      const snapshot = await (name ? source.at({ id, name }) : source.current(id));
      if (snapshot === undefined) return this.#unknown(asker, route, request);
      const isPrivate = policy.protected || !settings.registry.anonymous;
      const asked = { headers: request.headers, isPrivate, isHead: request.method === 'HEAD' };
      const isIts = (await snapshot.repository()) === route.repository;
      const answer = isIts
        ? await this.#fromSnapshot(snapshot, route, asked)
        : await this.#unknown(asker, route, request);
      const isTold = isIts && answer.status !== 404 && (await isNotCutShort(snapshot, route));
      if (isTold || (await snapshot.stands()) || attempt === TRIES)
        return withDetail(answer, route);
    }
  }

  /**
   * Returns the same response for an absent and for a forbidden repository, regardless of what the settings say about
   * the name.
   */
  async #unknown(
    asker: Asker,
    route: RepositoryRoute,
    { headers }: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const refusal = this.#refusal(asker);
    if (refusal.status !== 404 || route.kind !== 'referrers') return withDetail(refusal, route);
    return answerReferrers(undefined, route, { headers, isPrivate: this.#permission.hasSecrets });
  }

  /** Absent or forbidden. An anonymous token gets a challenge, because a token of a user may have access. */
  #refusal({ caller, access }: Asker): Refusal {
    const unknown = this.#permission.unknown(caller);
    return access && unknown.status === 401 ? OUT_OF_SCOPE : unknown;
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
        return answerBlob(snapshot, route, this.options.blobsBy, asked);
      case 'tags':
        return answerTags(snapshot, route, asked);
      case 'referrers':
        return answerReferrers(snapshot, route, asked);
    }
  }

  async #catalog(
    asker: Asker,
    page: Page,
    { headers }: IncomingMessage,
  ): Promise<Answer | Refusal> {
    const { settings, source } = this.options;
    const { caller } = asker;
    if (!covers(asker, CATALOG_ACCESS)) return OUT_OF_SCOPE;
    if (caller.kind === 'anonymous' && !settings.registry.anonymous) return this.#refusal(asker);
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

/** Clients show this error: Docker's engine prints `pull access denied`, containerd prints the error name. */
const OUT_OF_SCOPE: Refusal = { status: 401, code: 'UNAUTHORIZED', token: 'insufficient_scope' };

/** A password grants all access of its user; a token grants only its scope. */
function covers({ access }: Asker, wanted: Access): boolean {
  return access === undefined || includesAccess(access, wanted);
}

/**
 * Returns the access that a token needs for this route. A path of the tree contains an id; the settings map
 * the id to a repository, and the response must not reveal that name.
 */
function accessFor(route: Route): Access | undefined {
  if (route.kind === 'catalog') return CATALOG_ACCESS;
  return 'repository' in route ? pullAccess(route.repository) : undefined;
}

/**
 * Returns true if the referrers result is valid: an empty list counts only if the snapshot still exists.
 * Other routes answer 404 in that case.
 */
async function isNotCutShort(snapshot: ServedSnapshot, route: RepositoryRoute): Promise<boolean> {
  if (route.kind !== 'referrers') return true;
  return (await snapshot.referrers(route.digest)) !== undefined || (await snapshot.exists());
}

/** Adds the missing name to a 404, as docker-registry does. */
function withDetail(answer: Answer | Refusal, route: RepositoryRoute): Answer | Refusal {
  if (!isRefusal(answer) || answer.status !== 404) return answer;
  const { repository: name } = route;
  if (answer.code === 'NAME_UNKNOWN') return { ...answer, detail: { name } };
  const reference = route.kind === 'manifest' ? { reference: route.reference } : {};
  const digest = route.kind === 'blob' ? { digest: route.digest } : {};
  return { ...answer, detail: { name, ...reference, ...digest } };
}

/** Content that cannot be read now must not be reported as unknown. */
function laterIfAway(error: Error): Refusal {
  if (!isAway(error)) throw error;
  return { status: 503, code: 'UNKNOWN', message: AWAY };
}

const AWAY = 'the object store of this registry cannot be reached; try again later';

function vary({ headers }: Answer): string {
  return [headers.Vary, 'Authorization'].filter(Boolean).join(', ');
}
