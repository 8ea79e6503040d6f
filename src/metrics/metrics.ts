/**
 * What the metrics are made of: the events of the log (docs/events.md), the jobs of the
 * worker threads, answers of the endpoint. Nothing is counted elsewhere, so publishing knows nothing
 * of it. docs/metrics.md lists them all, and a test says so.
 *
 * Labels have few values, whatever is published: repositories are told apart only where the settings
 * name them, and no more of them than SERIES_MAX.
 */
import { collectDefaultMetrics, Registry } from 'prom-client';
import { endpointMetrics, publishMetrics } from './definitions.js';
import { DropsWaiting } from './drops-waiting.js';
import type { Health } from './health.js';
import { hashedBytes, stepsOf } from './steps.js';

export interface MetricsOptions {
  readonly version: string;
  /** `serve` publishes nothing; its metrics are those of the endpoint alone. */
  readonly publishes: boolean;
  readonly health: Health;
  /** Which repositories get series of their own. */
  readonly isTold: (repository: string) => boolean;
  /** Counts repositories and snapshots; asked at most once a minute. */
  readonly census: () => Promise<{ readonly repositories: number; readonly snapshots: number }>;
  /** `name@timestamp` of each drop this process has claimed. */
  readonly claims: () => Iterable<string>;
  /** Notices that are not delivered yet. */
  readonly noticesWaiting: () => number;
  readonly nowMs: () => number;
}

/** Of the library's own: gauges named as counters, which promtool refuses. */
const MISNAMED = ['handles', 'requests', 'resources'].map((what) => `nodejs_active_${what}_total`);

/** What an event of the log says: `took` is `0.123s`. */
type Fields = Readonly<Record<string, unknown>>;

export interface SentAnswer {
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly tookMs: number;
  readonly isWhole: boolean;
  readonly bytes: number;
}

const CENSUS_MS = 60_000;
const SERIES_MAX = 200;
/** Timers that wake an idle daemon a hundred times a second measure nothing it does. */
const LOOP_PRECISION_MS = 100;

export class Metrics {
  readonly #registry = new Registry();
  readonly #options: MetricsOptions;
  readonly #told = new Set<string>();
  readonly #waiting: DropsWaiting;
  #censusMs = Number.NEGATIVE_INFINITY;
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

  /** The names of what is measured here, besides what every process of Node tells. */
  names(): string[] {
    return this.#registry
      .getMetricsAsArray()
      .map(({ name }) => name)
      .filter((name) => name.startsWith('dropdock_'));
  }

  /** The content type of `text`. */
  get type(): string {
    return this.#registry.contentType;
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<string> {
    await this.#look();
    return this.#registry.metrics();
  }

  /** An event of the log, whether it was written or not. */
  event(level: string, event: string, fields: Fields): void {
    const { warnings, publishes, rejections, retries, publishSeconds, notices } = this.#of;
    if (level === 'warn' || level === 'error') warnings.inc({ event });
    const result = RESULTS[event];
    if (result !== undefined) {
      publishes?.inc({ result });
      this.#countRepository(fields.repo, result);
    }
    const code = String(fields.code);
    if (event === 'drop.rejected') rejections?.inc({ code });
    if (event === 'publish.retry') retries?.inc({ code });
    if (event === 'publish.done') {
      this.#of.lastPublish?.setToCurrentTime();
      publishSeconds?.observe(Number.parseFloat(String(fields.took)));
    }
    const notice = NOTICE_RESULTS[event];
    if (notice !== undefined) notices?.inc({ result: notice });
  }

  /** A job of the worker threads that has ended well. */
  job(name: string, request: unknown, result: unknown, tookMs: number): void {
    const { stepSeconds, hashed, flips } = this.#of;
    for (const [step, ms] of stepsOf(name, result, tookMs)) {
      stepSeconds?.observe({ step }, ms / 1000);
    }
    hashed?.inc(hashedBytes(name, request, result));
    if (name === 'flip') flips?.inc();
    if (name === 'scan') {
      const { drops, ignored } = result as ScanSeen;
      this.#waiting.seen(drops.map(({ path }) => path));
      this.#of.ignored?.set(ignored.length);
      this.#of.lastScan?.setToCurrentTime();
    }
    if (name === 'sweep') {
      const { bytes, stays } = result as SweepSeen;
      this.#of.swept?.inc(bytes);
      this.#of.storeBytes?.set(stays.bytes);
      this.#of.storeFiles?.set(stays.files);
    }
    if (name === 'clean' || name === 'cleanAndEnd') {
      this.#of.removed?.inc((result as readonly string[]).length);
    }
  }

  lockWaited(waitedMs: number): void {
    this.#of.lockSeconds?.observe(waitedMs / 1000);
  }

  sent({ route, method, status, tookMs, isWhole, bytes }: SentAnswer): void {
    const { requests, requestSeconds, sentBytes, cut } = this.#of;
    requests.inc({ route, method, status: String(status) });
    requestSeconds.observe({ route }, tookMs / 1000);
    sentBytes.inc(bytes);
    if (!isWhole) cut.inc();
  }

  /** The first of its kind must be seen as a step from 0; what is not known yet must not look like 0. */
  #begin(): void {
    const { publishes, notices, repositories, snapshots, storeBytes, storeFiles } = this.#of;
    for (const result of Object.values(RESULTS)) publishes?.inc({ result }, 0);
    for (const result of Object.values(NOTICE_RESULTS)) notices?.inc({ result }, 0);
    for (const gauge of [repositories, snapshots, storeBytes, storeFiles]) gauge?.set(Number.NaN);
  }

  #countRepository(repository: unknown, result: string): void {
    if (typeof repository !== 'string' || !this.#options.isTold(repository)) return;
    if (!this.#told.has(repository) && this.#told.size >= SERIES_MAX) return;
    this.#told.add(repository);
    this.#of.ofRepository?.inc({ repository, result });
    if (result === 'published') this.#of.lastOfRepository?.setToCurrentTime({ repository });
  }

  /** What is not counted but looked at, when somebody asks. */
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
    if (nowMs() - this.#censusMs >= CENSUS_MS) this.count();
  }

  /** Counts what there is. A scrape does not wait for it; the next one has it. */
  count(): void {
    this.#censusMs = this.#options.nowMs();
    this.#options.census().then(
      ({ repositories, snapshots }) => {
        this.#of.repositories?.set(repositories);
        this.#of.snapshots?.set(snapshots);
      },
      () => {},
    );
  }
}

interface ScanSeen {
  readonly drops: readonly { readonly path: string }[];
  readonly ignored: readonly unknown[];
}

interface SweepSeen {
  readonly bytes: number;
  readonly stays: { readonly files: number; readonly bytes: number };
}

const RESULTS: Readonly<Record<string, string>> = {
  'publish.done': 'published',
  'publish.unchanged': 'unchanged',
  'drop.rejected': 'rejected',
  'publish.retry': 'retried',
};

const NOTICE_RESULTS: Readonly<Record<string, string>> = {
  'notify.sent': 'sent',
  'notify.failed': 'failed',
  'notify.dropped': 'dropped',
};
