/** Runs the registry endpoint: its addresses, certificate reloads and log lines. */

import { crash } from '../crash.js';
import type { Log } from '../log.js';
import { type Certificate, CertificateWatch } from '../registry/certificate.js';
import { type Listen, parseListen, RegistryServer, type Sent } from '../registry/server.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';
import type { SourceOptions } from '../targets/target-kind.js';
import { formatSeconds } from '../units.js';
import type { EndpointState } from './endpoint-state.js';
import { Listening } from './listening.js';
import type { Monitor } from './monitor.js';
import { Site, type SiteOptions } from './site.js';
import { openSource } from './targets.js';

export interface RegistryOptions
  extends Omit<SiteOptions, 'source' | 'run'>,
    Omit<SourceOptions, 'run' | 'settings' | 'onAway'> {
  readonly run: SiteOptions['run'] & SourceOptions['run'];
  /** Descriptors of sockets that systemd opened; they replace `registry.listen`. */
  readonly inherited: readonly number[];
  readonly monitor?: Pick<Monitor, 'answerHealth' | 'sent'>;
  /** Called when it begins to listen at an address, and when the reason why it does not changes. */
  readonly onChange?: (state: EndpointState) => void;
}

export interface Registry {
  /** The URLs it listens on; empty while it cannot listen. */
  readonly urls: readonly string[];
  /** Where it listens, and why it does not. */
  readonly state: EndpointState;
  /** Applies the current settings; reads certificate and passwords again if they changed. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** Interval of checks for a renewed certificate; SIGHUP checks at once. */
const CERTIFICATE_LOOK_MS = 10_000;

/**
 * @param whenBusy what to do if an address is in use or the certificate is invalid: the daemon retries,
 *   because publishing must not depend on the endpoint; `serve` throws
 * @throws with `throw`, the error of the certificate or the address
 */
export async function openRegistry(
  options: RegistryOptions,
  whenBusy: 'retry' | 'throw',
): Promise<Registry> {
  const { log } = options;
  const settings = options.settings();
  const { certificate, key, target } = settings.registry;
  const watch = certificate && key ? new CertificateWatch({ certificate, key }) : undefined;
  const opened = await openSource({ ...options, settings, onAway: logAway(log, target) });
  const site = new Site({ ...options, source: opened.source });
  await site.refresh();
  const listening = new Listening({
    places: placesOf(settings, options),
    certificate: watch,
    makeServer: (pair) => serve(options, site, pair),
    log,
    onChange: options.onChange,
  });
  await listening.start(whenBusy);
  const look = setInterval(() => {
    renewCertificate().catch(crash);
  }, CERTIFICATE_LOOK_MS);
  look.unref();
  return {
    get urls() {
      return listening.state.urls;
    },
    get state() {
      return listening.state;
    },
    reload: async () => {
      await site.refresh();
      await renewCertificate();
    },
    close: async () => {
      clearInterval(look);
      site.close();
      await listening.close(options.settings().shutdown.wait);
      opened.close();
    },
  };

  async function renewCertificate(): Promise<void> {
    try {
      const next = await watch?.readIfChanged();
      if (next === undefined) return;
      for (const server of listening.servers) server.useCertificate(next);
      log('info', 'registry.reloaded', { what: 'certificate' });
    } catch (error) {
      log('warn', 'registry.error', {
        what: 'cannot read the certificate, keeping the previous one',
        ...errorFields(error as Error),
      });
    }
  }
}

/** Logs when the store behind the endpoint becomes unreachable, and when it is reachable again. */
function logAway(log: Log, target: string): SourceOptions['onAway'] {
  return (trouble) => {
    if (trouble === undefined) log('info', 'registry.back', { target });
    else log('error', 'registry.away', { target, ...errorFields(trouble) });
  };
}

function serve(
  { settings, log, monitor }: RegistryOptions,
  site: Site,
  certificate: Certificate | undefined,
): RegistryServer {
  const { connections, idle } = settings().registry;
  return new RegistryServer({
    answer: async (request) =>
      (await monitor?.answerHealth(request)) ?? (await site.endpoint.answer(request)),
    certificate,
    connections,
    idleMs: idle,
    onSent: (sent: Sent, request) => {
      const { status, tookMs, isWhole } = sent;
      const { method, url, socket } = request;
      monitor?.sent(sent, request);
      log('debug', 'registry.request', {
        method,
        path: url?.slice(0, 300),
        status,
        cut: isWhole ? undefined : true,
        from: socket.remoteAddress,
        took: formatSeconds(tookMs),
      });
    },
    onError: (error, { url }) =>
      log('error', 'registry.error', { path: url?.slice(0, 300), ...errorFields(error) }),
  });
}

function placesOf({ registry }: Settings, { inherited }: RegistryOptions): Listen[] {
  if (inherited.length > 0) return inherited.map((fd) => ({ fd }));
  const place = parseListen(registry.listen);
  return place === undefined ? [] : [place];
}
