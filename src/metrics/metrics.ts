/**
 * Derives the metrics from publish events, log lines and responses of the endpoint. There are no other
 * counters, so the publishing code does not depend on metrics. docs/metrics.md lists all metrics; a test
 * checks the list.
 *
 * Labels have few values: only repositories named in the settings get their own series, at most SERIES_MAX.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { EmitEvent } from '../publisher/events.js';
import { errorFields } from '../report.js';
import { endpointMetrics, publishMetrics } from './definitions.js';
import { DropsWaiting } from './drops-waiting.js';
import type { Health } from './health.js';

export interface MetricsOptions {
  readonly version: string;
  /** False for `serve`, which has only the metrics of the endpoint. */
  readonly publishes: boolean;
  readonly health: Health;
  /** Returns true if the repository gets its own series. */
  readonly isTold: (repository: string) => boolean;
  /** Counts repositories and snapshots; called at most once a minute. */
  readonly census: () => Promise<{ readonly repositories: number; readonly snapshots: number }>;
  /** `name@timestamp` of each drop that this process has claimed. */
  readonly claims: () => Iterable<string>;
  /** The number of notifications that are not delivered yet. */
  readonly noticesWaiting: () => number;
  readonly nowMs: () => number;
}

/** Metrics of the library that are gauges but named like counters, which promtool rejects. */
const MISNAMED = ['handles', 'requests', 'resources'].map((what) => `nodejs_active_${what}_total`);

export interface SentAnswer {
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly tookMs: number;
  readonly isWhole: boolean;
  readonly bytes: number;
}

const COUNT_EVERY_MS = 60_000;
const SERIES_MAX = 200;
/** Sampling 100 times a second would only measure the timer in an idle daemon. */
const LOOP_PRECISION_MS = 100;

export class Metrics {
  readonly #registry = new Registry();
  readonly #options: MetricsOptions;
  readonly #told = new Set<string>();
  readonly #waiting: DropsWaiting;
  #countedMs = Number.NEGATIVE_INFINITY;
  readonly #of: ReturnType<typeof endpointMetrics> & Partial<ReturnType<typeof publishMetrics>>;

  constructor(options: MetricsOptions) {
    const registers = [this.#registry];
    this.#options = options;
    this.#waiting = new DropsWaiting(options.nowMs);
    collectDefaultMetrics({
      register: this.#registry,
      eventLoopMonitoringPrecision: LOOP_PRECISION_MS,
    });
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name);
    const endpoint = endpointMetrics(registers);
    endpoint.build.set({ version: options.version }, 1);
    this.#of = options.publishes ? { ...endpoint, ...publishMetrics(registers) } : endpoint;
    this.#begin();
  }

  /** Returns the names of dropdock's metrics, without the default metrics of Node. */
  names(): string[] {
    return this.#registry
      .getMetricsAsArray()
      .map(({ name }) => name)
      .filter((name) => name.startsWith('dropdock_'));
  }

  get type(): string {
    return this.#registry.contentType;
  }

  /** Returns all metrics in the Prometheus text format. */
  async text(): Promise<string> {
    await this.#look();
    return this.#registry.metrics();
  }

  /** Counts a log line, even if the log level suppresses it. */
  logged(level: string, event: string): void {
    const { warnings, notices } = this.#of;
    if (level === 'warn' || level === 'error') warnings.inc({ event });
    const notice = NOTICE_RESULTS[event];
    if (notice !== undefined) notices?.inc({ result: notice });
  }

  /** Handles the events of publishing. */
  readonly hear: EmitEvent = (event) => {
    const { rejections, retries, publishSeconds, stepSeconds, hashed, flips } = this.#of;
    switch (event.type) {
      case 'publish.done':
        this.#count(event.repository, event.outcome.status);
        if (event.outcome.status === 'unchanged') break;
        this.#of.lastPublish?.setToCurrentTime();
        publishSeconds?.observe(event.tookMs / 1000);
        break;
      case 'drop.rejected':
        this.#count(event.repository, 'rejected');
        rejections?.inc({ code: errorFields(event.error).code });
        break;
      case 'publish.retry':
        this.#count(event.repository, 'retried');
        retries?.inc({ code: errorFields(event.error).code });
        break;
      case 'inbox.scanned':
        this.#waiting.seen(event.drops);
        this.#of.ignored?.set(event.ignored);
        this.#of.left?.set(event.left);
        this.#of.unreadable?.set(event.unreadable);
        this.#of.lastScan?.setToCurrentTime();
        break;
      case 'content.swept':
        this.#of.swept?.inc(event.bytes);
        this.#of.storeBytes?.set(event.stays.bytes);
        this.#of.storeFiles?.set(event.stays.files);
        break;
      case 'content.hashed':
        hashed?.inc(event.bytes);
        break;
      case 'snapshots.removed':
        this.#of.removed?.inc(event.count);
        break;
      case 'flip.done':
        flips?.inc();
        break;
      case 'lock.waited':
        this.#of.lockSeconds?.observe(event.tookMs / 1000);
        break;
      case 'step.done':
        stepSeconds?.observe({ step: event.step }, event.tookMs / 1000);
    }
  };

  sent({ route, method, status, tookMs, isWhole, bytes }: SentAnswer): void {
    const { requests, requestSeconds, sentBytes, cut } = this.#of;
    requests.inc({ route, method, status: String(status) });
    requestSeconds.observe({ route }, tookMs / 1000);
    sentBytes.inc(bytes);
    if (!isWhole) cut.inc();
  }

  /** Counters start at 0, so that the first increment is visible. Unknown gauges start as NaN, not 0. */
  #begin(): void {
    const { publishes, notices, repositories, snapshots, storeBytes, storeFiles } = this.#of;
    for (const result of RESULTS) publishes?.inc({ result }, 0);
    for (const result of Object.values(NOTICE_RESULTS)) notices?.inc({ result }, 0);
    for (const gauge of [repositories, snapshots, storeBytes, storeFiles]) gauge?.set(Number.NaN);
  }

  #count(repository: string | undefined, result: Result): void {
    this.#of.publishes?.inc({ result });
    if (repository === undefined || !this.#options.isTold(repository)) return;
    if (!this.#told.has(repository) && this.#told.size >= SERIES_MAX) return;
    this.#told.add(repository);
    this.#of.ofRepository?.inc({ repository, result });
    if (result === 'published') this.#of.lastOfRepository?.setToCurrentTime({ repository });
  }

  /** Updates the gauges that are read at scrape time. */
  async #look(): Promise<void> {
    const { health, claims, noticesWaiting, nowMs } = this.#options;
    const { waiting, oldest, noticesLeft, free, size, ready } = this.#of;
    ready.set((await health.readiness()).isReady ? 1 : 0);
    for (const { name: place, reach } of await health.reach()) {
      if (reach === undefined) {
        free.remove({ place });
        continue;
      }
      free.set({ place }, reach.freeBytes);
      size.set({ place }, reach.allBytes);
    }
    if (!this.#options.publishes) return;
    const { inbox, claimed } = this.#waiting.count(claims());
    waiting?.set({ state: 'inbox' }, inbox.drops);
    waiting?.set({ state: 'claimed' }, claimed.drops);
    oldest?.set({ state: 'inbox' }, inbox.oldestSeconds);
    oldest?.set({ state: 'claimed' }, claimed.oldestSeconds);
    noticesLeft?.set(noticesWaiting());
    if (nowMs() - this.#countedMs >= COUNT_EVERY_MS) this.count();
  }

  /** Counts repositories and snapshots in the background; the next scrape has the result. */
  count(): void {
    this.#countedMs = this.#options.nowMs();
    this.#options.census().then(
      ({ repositories, snapshots }) => {
        this.#of.repositories?.set(repositories);
        this.#of.snapshots?.set(snapshots);
      },
      () => {},
    );
  }
}

const RESULTS = ['published', 'unchanged', 'rejected', 'retried'] as const;
type Result = (typeof RESULTS)[number];

const NOTICE_RESULTS: Readonly<Record<string, string>> = {
  'notify.sent': 'sent',
  'notify.failed': 'failed',
  'notify.dropped': 'dropped',
};
