/** What the endpoint answers with, by the settings of the moment: the gate, the registry, the page. */
import type { IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import { Gate } from '../access/gate.js';
import type { AccessJobs } from '../access/jobs.js';
import type { RunJob } from '../disk/hands.js';
import type { Log } from '../log.js';
import type { DaemonView } from '../registry/daemon-view.js';
import { Endpoint } from '../registry/endpoint.js';
import { Page } from '../registry/page.js';
import type { Source } from '../registry/source.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';

export interface SiteOptions {
  readonly settings: Settings;
  readonly source: Source;
  readonly run: RunJob<AccessJobs>;
  readonly log: Log;
  /** What the page shows of the inbox; left out in a process that only serves. */
  readonly board?: DaemonView;
}

export class Site {
  readonly #options: SiteOptions;
  #gate: Gate;
  #htpasswd: string | null;
  #page: Page | undefined;
  #endpoint: Endpoint;

  constructor(options: SiteOptions) {
    this.#options = options;
    this.#htpasswd = options.settings.registry.htpasswd;
    this.#gate = openGate(options);
    this.#page = openPage(options, this.#gate);
    this.#endpoint = openEndpoint(options, this.#gate, this.#page);
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  /** Nobody is answered by new rules before the passwords that go with them are read. */
  async refresh(): Promise<void> {
    const { htpasswd } = this.#options.settings.registry;
    if (htpasswd !== this.#htpasswd) this.#gate = openGate(this.#options);
    this.#htpasswd = htpasswd;
    await this.#gate.refresh({ now: true });
    // Whoever watches is asked again who he is: browsers come back by themselves.
    this.#page?.close();
    this.#page = openPage(this.#options, this.#gate);
    this.#endpoint = openEndpoint(this.#options, this.#gate, this.#page);
  }

  /** Ends what would go on: the streams of the page. */
  close(): void {
    this.#page?.close();
  }
}

function openEndpoint(
  { settings, source, log }: SiteOptions,
  gate: Gate,
  page: Page | undefined,
): Endpoint {
  const onRefused = (user: string, request: IncomingMessage) =>
    log('warn', 'registry.denied', { user, from: request.socket.remoteAddress });
  return new Endpoint({ source, settings, gate, page, onRefused });
}

function openGate({ settings, run, log }: SiteOptions): Gate {
  const { htpasswd } = settings.registry;
  return new Gate({
    htpasswd: htpasswd === null ? undefined : resolve(htpasswd),
    run,
    nowMs: () => performance.now(),
    onRead: ({ ignored, error, first }) => {
      if (error) {
        const what = first
          ? 'the passwords cannot be read; nobody is let in'
          : 'the passwords cannot be read; those before hold';
        log('error', 'registry.error', { what, ...errorFields(error) });
        return;
      }
      if (!first) log('info', 'registry.reloaded', { what: 'passwords' });
      if (ignored.length === 0) return;
      const names = ignored.slice(0, 10).join(', ');
      log('warn', 'registry.error', { what: `no bcrypt hash (htpasswd -B): ${names}` });
    },
  });
}

function openPage({ settings, source, log, board }: SiteOptions, gate: Gate): Page | undefined {
  if (!settings.registry.page) return undefined;
  return new Page({
    settings,
    source,
    daemon: board,
    identify: (authorization) => gate.identify(authorization),
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    onError: (error) => log('error', 'registry.error', { what: 'the page', ...errorFields(error) }),
  });
}
