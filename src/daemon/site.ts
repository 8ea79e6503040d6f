/** Builds what the endpoint serves from the current settings: authentication, registry and page. */
import type { IncomingMessage } from 'node:http';
import { resolve } from 'node:path';
import { Gate } from '../auth/gate.js';
import { KeyRing, type KeySource } from '../auth/key-ring.js';
import { Tokens } from '../auth/tokens.js';
import type { Log } from '../log.js';
import { Endpoint } from '../registry/endpoint.js';
import type { Source } from '../registry/source.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';
import type { RunJob } from '../storage/job.js';
import { type TreeRoots, tokenKeysPath } from '../storage/tree-paths.js';
import type { DaemonView } from '../web/daemon-view.js';
import { Page } from '../web/page.js';
import { blobsBy } from './targets.js';

export interface SiteOptions {
  readonly settings: () => Settings;
  readonly source: Source;
  readonly roots: TreeRoots;
  readonly run: RunJob;
  readonly log: Log;
  /** The inbox status for the page; absent in `serve`. */
  readonly board?: DaemonView;
  /** The version of dropdock, which the page shows. */
  readonly version: string;
  /** True if the process may write into the state directory; `serve` may not. */
  readonly ownsState?: boolean;
}

export class Site {
  readonly #options: SiteOptions;
  #gate: Gate;
  #htpasswd: string | null;
  #keys: KeyRing | undefined;
  #page: Page | undefined;
  #endpoint: Endpoint;

  constructor(options: SiteOptions) {
    this.#options = options;
    const settings = options.settings();
    this.#htpasswd = settings.registry.htpasswd;
    this.#gate = openGate(settings, options);
    this.#keys = openKeys(settings, options, undefined);
    this.#page = openPage(settings, options, this.#gate);
    this.#endpoint = this.#openEndpoint(settings);
  }

  get endpoint(): Endpoint {
    return this.#endpoint;
  }

  /**
   * Applies the current settings. Endpoint and page keep the old settings until the new passwords are read, so
   * that no request is answered with new rules and old passwords.
   */
  async refresh(): Promise<void> {
    const settings = this.#options.settings();
    const { htpasswd } = settings.registry;
    if (htpasswd !== this.#htpasswd) this.#gate = openGate(settings, this.#options);
    this.#htpasswd = htpasswd;
    await this.#gate.refresh({ now: true });
    this.#keys = openKeys(settings, this.#options, this.#keys);
    await this.#keys?.refresh({ now: true });
    // Closing the streams makes browsers reconnect, which authenticates them again.
    this.#page?.close();
    this.#page = openPage(settings, this.#options, this.#gate);
    this.#endpoint = this.#openEndpoint(settings);
  }

  /** Closes the event streams of the page. */
  close(): void {
    this.#page?.close();
  }

  #openEndpoint(settings: Settings): Endpoint {
    const { source, log } = this.#options;
    const [gate, keys, page] = [this.#gate, this.#keys, this.#page];
    const lifetimeMs = () => settings.registry.tokenFor;
    const tokens = keys && new Tokens({ gate, keys, lifetimeMs, clockMs: () => Date.now() });
    const onRefused = (user: string, request: IncomingMessage) =>
      log('warn', 'registry.denied', { user, from: request.socket.remoteAddress });
    const given = { source, settings, gate, tokens, page, onRefused };
    return new Endpoint({ ...given, blobsBy: blobsBy(settings) });
  }
}

/**
 * Returns undefined without passwords. Returns the keys in use if their path is unchanged, so that tokens stay
 * valid over a reload.
 */
function openKeys(
  settings: Settings,
  { roots, run, log, ownsState = false }: SiteOptions,
  inUse: KeyRing | undefined,
): KeyRing | undefined {
  const { htpasswd, tokenKey } = settings.registry;
  if (htpasswd === null) return undefined;
  const path = tokenKey === null ? tokenKeysPath(roots) : resolve(tokenKey);
  if (inUse?.options.path === path) return inUse;
  return new KeyRing({
    path,
    makes: ownsState && tokenKey === null,
    run,
    nowMs: () => performance.now(),
    clockMs: () => Date.now(),
    onChange: (source) => tellOfKeys(source, path, tokenKey === null && !ownsState, log),
  });
}

const KEY_HINT =
  'Only this process accepts its tokens. Endpoints behind one load balancer need registry.tokenKey.';

/** @param isExpected true if it is normal that the file cannot be read: `serve` may not read the daemon's */
function tellOfKeys(source: KeySource, path: string, isExpected: boolean, log: Log): void {
  if (source.from === 'file') {
    log('info', 'registry.tokens', { key: path });
    if (source.ignored.length === 0) return;
    const lines = source.ignored.join(', ');
    log('warn', 'registry.error', { what: `token keys too short, ignored: line ${lines}`, path });
    return;
  }
  if (!isExpected) {
    const what = 'cannot read the token keys';
    const error = source.error ? errorFields(source.error) : { message: 'the file does not exist' };
    log('error', 'registry.error', { what, path, ...error });
  }
  if (source.from === 'memory') log('info', 'registry.tokens', { key: 'memory', hint: KEY_HINT });
}

function openGate(settings: Settings, { run, log }: SiteOptions): Gate {
  const { htpasswd } = settings.registry;
  return new Gate({
    htpasswd: htpasswd === null ? undefined : resolve(htpasswd),
    run,
    nowMs: () => performance.now(),
    onRead: ({ ignored, error, first }) => {
      if (error) {
        const what = first
          ? 'cannot read the passwords; no user can log in'
          : 'cannot read the passwords, keeping the previous ones';
        log('error', 'registry.error', { what, ...errorFields(error) });
        return;
      }
      if (!first) log('info', 'registry.reloaded', { what: 'passwords' });
      if (ignored.length === 0) return;
      const names = ignored.slice(0, 10).join(', ');
      log('warn', 'registry.error', {
        what: `users without a bcrypt hash, ignored (use htpasswd -B): ${names}`,
      });
    },
  });
}

function openPage(
  settings: Settings,
  { source, log, board, version }: SiteOptions,
  gate: Gate,
): Page | undefined {
  if (!settings.registry.page) return undefined;
  return new Page({
    settings,
    source,
    daemon: board,
    version,
    identify: (authorization) => gate.identify(authorization),
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    onError: (error) =>
      log('error', 'registry.error', { what: 'rendering the page', ...errorFields(error) }),
  });
}
