/** The registry endpoint as a running thing: where it listens, what it reads again, what it logs. */

import { crash } from '../crash.js';
import type { Log } from '../log.js';
import { type Certificate, CertificateWatch } from '../registry/certificate.js';
import { type Listen, RegistryServer, type Sent } from '../registry/server.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';
import type { SourceOptions } from '../targets/target-kind.js';
import { formatSeconds } from '../units.js';
import { placeOf } from './listen.js';
import type { Monitor } from './monitor.js';
import { Site, type SiteOptions } from './site.js';
import { openSource } from './targets.js';

export interface RegistryOptions
  extends Omit<SiteOptions, 'source' | 'run'>,
    Omit<SourceOptions, 'run' | 'settings' | 'onAway'> {
  readonly run: SiteOptions['run'] & SourceOptions['run'];
  /** Sockets that systemd opened; they come instead of `registry.listen`. */
  readonly inherited: readonly number[];
  readonly monitor?: Pick<Monitor, 'answerHealth' | 'sent'>;
}

export interface Registry {
  /** Where it listens; empty while it cannot. */
  readonly urls: readonly string[];
  /** Goes by the settings as they are now; reads certificate and passwords again if they changed. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** Certificates are renewed every some weeks; a SIGHUP makes it at once. */
const CERTIFICATE_LOOK_MS = 10_000;
const LISTEN_AGAIN_MS = 2000;

/**
 * @param whenBusy what a place that cannot be listened at means: `retry` for the daemon, whose
 *   publishing must not depend on it, `throw` for the endpoint as its own process
 * @throws what is wrong with the certificate or the place, where that is to be thrown
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
  const places = placesOf(settings, options);
  const listening = new Map<Listen, RegistryServer>();
  const complain = logOnce(log);
  let timer: NodeJS.Timeout | undefined;
  await listenAll();
  const look = setInterval(() => {
    renewCertificate().catch(crash);
  }, CERTIFICATE_LOOK_MS);
  look.unref();
  return {
    get urls() {
      return [...listening.values()].map(({ url }) => url);
    },
    reload: async () => {
      await site.refresh();
      await renewCertificate();
    },
    close: async () => {
      clearInterval(look);
      clearTimeout(timer);
      site.close();
      await Promise.all(
        [...listening.values()].map((server) => server.close(options.settings().shutdown.wait)),
      );
      opened.close();
    },
  };

  async function listenAll(): Promise<void> {
    for (const where of places) {
      if (listening.has(where)) continue;
      try {
        const server = serve(options, site, await watch?.read());
        await server.listen(where);
        listening.set(where, server);
        log('info', 'registry.ready', { url: server.url });
      } catch (error) {
        if (whenBusy === 'throw') throw error;
        complain(where, error as Error);
      }
    }
    if (listening.size === places.length) return;
    timer = setTimeout(() => {
      listenAll().catch(crash);
    }, LISTEN_AGAIN_MS).unref();
  }

  async function renewCertificate(): Promise<void> {
    try {
      const next = await watch?.readIfChanged();
      if (next === undefined) return;
      for (const server of listening.values()) server.useCertificate(next);
      log('info', 'registry.reloaded', { what: 'certificate' });
    } catch (error) {
      log('warn', 'registry.error', {
        what: 'the certificate cannot be read; the one before stays',
        ...errorFields(error as Error),
      });
    }
  }
}

/** Says when the store behind the endpoint cannot be reached, and when it can again. */
function logAway(log: Log, target: string): SourceOptions['onAway'] {
  return (trouble) => {
    if (trouble === undefined) log('info', 'registry.back', { target });
    else log('error', 'registry.away', { target, ...errorFields(trouble) });
  };
}

/** Who reads the log at night wants to see what else happens: each reason is an error once. */
function logOnce(log: Log): (where: Listen, error: Error) => void {
  const said = new Map<Listen, string>();
  return (where, error) => {
    const isSaid = said.get(where) === error.message;
    said.set(where, error.message);
    log(isSaid ? 'debug' : 'error', 'registry.failed', {
      ...errorFields(error),
      hint: 'Publishing goes on. Free the address, take another (DROPDOCK_REGISTRY_LISTEN=127.0.0.1:5077) or none (registry.listen: null); or mend the certificate.',
      retry: `${LISTEN_AGAIN_MS / 1000}s`,
    });
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
  const place = placeOf(registry.listen);
  return place === undefined ? [] : [place];
}
