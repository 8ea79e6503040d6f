/**
 * Metrics and health checks, fed by events, log lines and sent responses. The metrics library is loaded only
 * if `metrics.listen` is set.
 */
import type { IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import { crash } from '../crash.js';
import type { Log } from '../log.js';
import { Health, type HealthOptions } from '../metrics/health.js';
import type { Metrics } from '../metrics/metrics.js';
import type { Events } from '../publisher/events.js';
import type { Answer } from '../registry/answer.js';
import { type Listen, parseListen, RegistryServer, type Sent } from '../registry/server.js';
import { errorFields } from '../report.js';
import { matchesRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import { countRepositories } from '../targets/directory/count-repositories.js';
import { type EndpointState, explainListen, ProblemLog } from './endpoint-state.js';
import type { Services } from './services.js';
import { readPlaces } from './targets.js';

export interface MonitorOptions {
  readonly settings: () => Settings;
  readonly version: string;
  /** False for `serve`, which only reads. */
  readonly publishes: boolean;
  readonly log: Log;
  readonly events: Events;
}

/** The parts of the daemon that a scrape of the metrics reads. */
export type Watched = Pick<Services, 'liveClaims' | 'run' | 'roots'> & {
  readonly noticesWaiting: () => number;
  readonly endpoint: () => EndpointState;
};

export interface Monitor {
  /** The log; its lines are counted. */
  readonly log: Log;
  /** Answers /healthz and /readyz, which need no authentication; undefined for every other path. */
  answerHealth(request: IncomingMessage): Promise<Answer | undefined>;
  sent(sent: Sent, request: IncomingMessage): void;
  /** Call it when the daemon is started. */
  watch(watched: Watched): void;
  close(): Promise<void>;
}

/** A scraper needs one connection; a broken monitoring system must not use up all descriptors. */
const CONNECTIONS = 20;
const IDLE_MS = 30_000;
const LISTEN_AGAIN_MS = 5000;

export async function openMonitor(options: MonitorOptions): Promise<Monitor> {
  const { settings, publishes, events, log } = options;
  let watched: Watched | undefined;
  const health = new Health({
    places: placesOf(options),
    scanMs: () => (publishes ? settings().inbox.scan : undefined),
    endpointFails: () => (watched?.endpoint().problems.length ?? 0) > 0,
    nowMs: () => performance.now(),
  });
  const metrics =
    settings().metrics.listen === null
      ? undefined
      : await loadMetrics(options, health, () => watched);
  const watchedLog: Log = (level, event, fields = {}) => {
    tell(() => metrics?.logged(level, event));
    log(level, event, fields);
  };
  events.subscribe((event) =>
    tell(() => {
      if (event.type === 'inbox.scanned') health.scanned(event.tookMs);
      metrics?.hear(event);
    }),
  );
  const server =
    metrics && (await serveMetrics(settings().metrics.listen, metrics, health, watchedLog));
  return {
    log: watchedLog,
    answerHealth: (request) => answerHealth(health, request),
    sent: ({ status, tookMs, isWhole, bytes }, { method = '', url = '' }) =>
      tell(() => {
        const asked = { route: routeOf(url), method: knownMethod(method) };
        metrics?.sent({ ...asked, status, tookMs, isWhole, bytes });
      }),
    watch: (given) => {
      watched = given;
      metrics?.count();
    },
    close: async () => server?.close(),
  };

  /** A bug in the metrics must not stop publishing or serving. */
  function tell(watcher: () => void): void {
    try {
      watcher();
    } catch (error) {
      log('warn', 'daemon.warning', { what: 'metrics', ...errorFields(error as Error) });
    }
  }
}

function placesOf({ settings, publishes }: MonitorOptions): HealthOptions['places'] {
  if (publishes) {
    const { paths, inbox: how } = settings();
    const { inbox, published } = paths;
    return [
      // Drops of a read-only inbox are published from a copy.
      { name: 'inbox', path: resolve(inbox), use: how.after === 'remove' ? 'write' : 'read' },
      { name: 'published', path: resolve(published), use: 'write' },
    ];
  }
  return readPlaces(settings());
}

async function loadMetrics(
  { settings, version, publishes }: MonitorOptions,
  health: Health,
  watched: () => Watched | undefined,
): Promise<Metrics> {
  const { Metrics } = await import('../metrics/metrics.js');
  return new Metrics({
    version,
    publishes,
    health,
    isTold: (repository) =>
      settings().metrics.repositories.some((pattern) => matchesRepository(pattern, repository)),
    census: async () => {
      const { run, roots } = watched() ?? {};
      if (run === undefined || roots === undefined) throw new Error('starting');
      return run(countRepositories, { roots });
    },
    claims: () => watched()?.liveClaims ?? [],
    noticesWaiting: () => watched()?.noticesWaiting() ?? 0,
    nowMs: () => Date.now(),
  });
}

/** Metrics have an address of their own: the endpoint's is public. If it is in use, publishing goes on. */
async function serveMetrics(
  listen: string | null,
  metrics: Metrics,
  health: Health,
  log: Log,
): Promise<{ close(): Promise<void> }> {
  const server = new RegistryServer({
    answer: async (request) =>
      (await answerHealth(health, request)) ?? (await answerMetrics(metrics, request)),
    certificate: undefined,
    connections: CONNECTIONS,
    idleMs: IDLE_MS,
    onSent: () => {},
    onError: (error) => log('error', 'metrics.failed', errorFields(error)),
  });
  let timer: NodeJS.Timeout | undefined;
  const where: Listen | undefined = parseListen(listen);
  const problemLog = new ProblemLog(log, 'metrics.failed');
  let isListening = false;
  await tryListen();
  return {
    close: async () => {
      clearTimeout(timer);
      if (isListening) await server.close(0);
    },
  };

  async function tryListen(): Promise<void> {
    if (where === undefined) return;
    try {
      await server.listen(where);
      isListening = true;
      log('info', 'metrics.ready', { url: server.url });
    } catch (error) {
      const hint =
        'Publishing and pulls continue. Free the address, or set metrics.listen to another one.';
      const problem = { ...explainListen(where, error as Error), hint };
      problemLog.tell(problem, `${LISTEN_AGAIN_MS / 1000}s`);
      timer = setTimeout(() => {
        tryListen().catch(crash);
      }, LISTEN_AGAIN_MS).unref();
    }
  }
}

async function answerMetrics(metrics: Metrics, { url }: IncomingMessage): Promise<Answer> {
  if (pathOf(url) !== '/metrics') return answerText(404, 'not found: try /metrics\n');
  return answerText(200, await metrics.text(), metrics.type);
}

async function answerHealth(
  health: Health,
  { url, method }: IncomingMessage,
): Promise<Answer | undefined> {
  const path = pathOf(url);
  if (path !== '/healthz' && path !== '/readyz') return undefined;
  if (method !== 'GET' && method !== 'HEAD') return answerText(405, 'GET or HEAD\n');
  // Alive means that the event loop runs, and this response proves it.
  if (path === '/healthz') return answerText(200, 'ok\n');
  const { isReady, problems } = await health.readiness();
  return isReady ? answerText(200, 'ok\n') : answerText(503, `not ready\n${problems.join('\n')}\n`);
}

function answerText(status: number, text: string, type = 'text/plain; charset=utf-8'): Answer {
  const body = Buffer.from(text);
  const headers = {
    'Content-Type': type,
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
  };
  return { status, headers, body };
}

function pathOf(url = ''): string {
  return url.split('?')[0] ?? '';
}

/** Returns the route of a path as a metric label: few values for all paths that clients request. */
export function routeOf(url: string): string {
  const path = pathOf(url);
  const [, , kind] = /^\/v2\/(?:(.+)\/)?(manifests|blobs|tags|referrers)\/[^/]+$/.exec(path) ?? [];
  if (kind !== undefined) return kind;
  if (path === '/v2/' || path === '/v2') return 'base';
  if (path === '/v2/_catalog') return 'catalog';
  if (path === '/v2/token') return 'token';
  return path === '/healthz' || path === '/readyz' ? 'health' : 'other';
}

function knownMethod(method: string): string {
  return method === 'GET' || method === 'HEAD' ? method : 'other';
}
