/** `dropdock run` and `dropdock serve`: what goes on until a signal ends it. */
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { crash } from '../crash.js';
import { startDaemon } from '../daemon/daemon.js';
import { openMonitor } from '../daemon/monitor.js';
import { Notifier } from '../daemon/notifier.js';
import { openRegistry, type Registry } from '../daemon/registry.js';
import { openServices, type Services, threadsFor } from '../daemon/services.js';
import { type ManagerAddress, ServiceManager } from '../daemon/systemd.js';
import { DropdockError } from '../errors.js';
import type { Log } from '../log.js';
import { Events } from '../publisher/events.js';
import { errorFields } from '../report.js';
import { CurrentSettings, type Reloaded } from '../settings/reload.js';
import type { Settings } from '../settings/schema.js';
import type { LoadedSettings } from '../settings/settings.js';
import { hasKernelLocks } from '../storage/kernel-lock.js';
import { mountOf, remembersNames } from '../storage/mounts.js';
import { ThreadPool } from '../workers/thread-pool.js';
import { type CommandContext, EXIT, type ExitCode, rootsOf } from './command-context.js';

/** What reaches a long-running process from outside. */
export interface Process {
  /** Resolves when the process was asked to end. */
  readonly stopRequested: Promise<string>;
  /** Calls this whenever the process is asked to read its files again. */
  readonly onReload: (reload: () => void) => void;
  /** Descriptors of the sockets that systemd opened for us. */
  readonly inheritedSockets: readonly number[];
  /** Whom to tell that it works. */
  readonly manager: ManagerAddress;
  /** Reads the settings again, from where they came. @throws settings.invalid */
  readonly readSettings: () => LoadedSettings;
  /** Opens the log's file again, and applies these settings to what it writes. */
  readonly reopenLog: (settings: Settings['log']) => void;
  /** What programs that notify runs get of ours. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of the package. */
  readonly version: string;
}

export interface RunOptions extends Process {
  /** Tell a newcomer where to drop, with one example to paste. */
  readonly welcome: boolean;
}

/**
 * How much of a function runs (in bytes of V8's own code; 66 KiB from the start, three times) before it
 * is compiled once more, for each thread anew. Drops come in bursts, of a second or two on a thread:
 * 2,000 took some 8 % less in all (with 500,000), and what is asked of the endpoint without a pause is answered as fast
 * after two seconds instead of one.
 */
const COMPILED_AFTER = '--interrupt-budget=300000';

export async function runDaemon(
  context: CommandContext,
  ownLog: Log,
  { welcome, ...outside }: RunOptions,
): Promise<ExitCode> {
  const { settings } = context;
  setFlagsFromString(COMPILED_AFTER);
  const current = new CurrentSettings(settings);
  const events = new Events();
  const { environment, version } = outside;
  const given = { settings: current.now, version, publishes: true, log: ownLog, events };
  const monitor = await openMonitor(given);
  const { log } = monitor;
  log('debug', 'daemon.starting', { pid: process.pid });
  if (!hasKernelLocks && settings.lock.kernel) {
    log('warn', 'daemon.warning', {
      what: 'no kernel locks on this machine: what a dead process held is free after lock.stale',
    });
  }
  warnOfMount(settings, log);
  const manager = openManager(outside, log);
  const services = await openServices(current.now, log, threadsFor(settings), events);
  let registry: Registry | undefined;
  try {
    // What is published can be pulled at once, whatever recovery finds to do.
    const { roots, run, board, liveClaims, inbox } = services;
    const shown = { settings: current.now, roots, run, log, board, monitor, ownsState: true };
    registry = await openRegistry({ ...shown, inherited: outside.inheritedSockets }, 'retry');
    const daemon = await startDaemon(services);
    const isTelling = settings.notify.length > 0;
    const notifier = isTelling ? new Notifier(services, environment) : undefined;
    monitor.watch({ liveClaims, run, roots, noticesWaiting: () => notifier?.waiting ?? 0 });
    const status = () => statusLine(registry?.urls ?? [], inbox);
    onReload({ current, log, outside, manager, status }, async () => {
      await registry?.reload();
      daemon.reload();
    });
    if (welcome) context.print(welcomeText(services, registry.urls));
    manager.guard(daemon.isAlive);
    manager.ready(status());
    await Promise.race([outside.stopRequested, daemon.failed]);
    manager.stopping('Lets running publishes and pulls end');
    await Promise.all([daemon.stop(), registry.close()]);
    await notifier?.stop();
    return EXIT.done;
  } finally {
    await monitor.close();
    await services.close();
    await manager.close();
  }
}

/** One daemon is safe with anything; of several, one that goes by what it remembers loses tags. */
function warnOfMount({ paths }: Settings, log: Log): void {
  const mount = mountOf(resolve(paths.published));
  if (mount === undefined || !remembersNames(mount)) return;
  log('warn', 'daemon.warning', {
    what: `${paths.published} is on NFS without lookupcache=none: one daemon only, or tags are lost (docs/reach.md)`,
  });
}

/** `dropdock serve`: the endpoint alone, over a tree that it cannot change. */
export async function serveRegistry(
  context: CommandContext,
  ownLog: Log,
  outside: Process,
): Promise<ExitCode> {
  const { settings } = context;
  if (settings.registry.listen === null && outside.inheritedSockets.length === 0) {
    throw new DropdockError(
      'usage.invalid',
      'registry.listen is null: there is nowhere to listen.',
    );
  }
  const hands = new ThreadPool({ hashThreads: 1 });
  const events = new Events();
  const current = new CurrentSettings(settings);
  const { version } = outside;
  const given = { settings: current.now, version, publishes: false, log: ownLog, events };
  const monitor = await openMonitor(given);
  const { log } = monitor;
  const manager = openManager(outside, log);
  try {
    const { run } = hands;
    const options = { settings: current.now, roots: rootsOf(context), run, log, monitor };
    const inherited = outside.inheritedSockets;
    const registry = await openRegistry({ ...options, inherited }, 'throw');
    const status = () => statusLine(registry.urls);
    onReload({ current, log, outside, manager, status }, () => registry.reload());
    // Its timers run, or this is not said.
    manager.guard(() => true);
    manager.ready(status());
    await outside.stopRequested;
    log('info', 'daemon.stopping', {});
    manager.stopping('Lets running pulls end');
    await registry.close();
    log('info', 'daemon.stopped', {});
    return EXIT.done;
  } finally {
    await monitor.close();
    await hands.close();
    await manager.close();
  }
}

function openManager({ manager }: Process, log: Log): ServiceManager {
  return new ServiceManager(manager, (error) =>
    log('warn', 'daemon.warning', { what: 'telling systemd', ...errorFields(error) }),
  );
}

interface Running {
  readonly current: CurrentSettings;
  readonly log: Log;
  readonly outside: Process;
  readonly manager: ServiceManager;
  /** What systemd is told of it. */
  readonly status: () => string;
}

/** @param after what must know that the settings, or the files they name, have changed */
function onReload({ current, log, outside, manager, status }: Running, after: () => Promise<void>) {
  let last = Promise.resolve();
  outside.onReload(() => {
    last = last.then(reload).catch(crash);
  });

  async function reload(): Promise<void> {
    manager.reloading();
    const read = readAgain();
    // Whatever became of the settings: the log was rotated, a certificate renewed. What is said of
    // it stands in the new file.
    outside.reopenLog(current.now().log);
    const trouble = tell(read);
    await after().catch((error) => {
      log('warn', 'daemon.warning', { what: 'reloading', ...errorFields(error as Error) });
    });
    manager.ready(trouble + status());
  }

  function readAgain(): Reloaded | Error {
    try {
      return current.adopt(outside.readSettings().settings);
    } catch (error) {
      return error as Error;
    }
  }

  /** @returns what systemd is told besides */
  function tell(read: ReturnType<typeof readAgain>): string {
    if (read instanceof Error) {
      const { code, message, hint } = errorFields(read);
      log('error', 'settings.refused', { code, message, hint });
      return `Settings refused: ${message}; those before hold. `;
    }
    const [changed, restart] = [read.applied.join(','), read.waiting.join(',')];
    log(read.waiting.length > 0 ? 'warn' : 'info', 'settings.reloaded', {
      changed: changed || undefined,
      restart: restart || undefined,
    });
    return '';
  }
}

function statusLine(urls: readonly string[], inbox?: string): string {
  const from = urls.length > 0 ? `Pulls at ${urls.join(', ')}` : 'No pulls';
  return inbox === undefined ? from : `${from}; inbox ${inbox}`;
}

function welcomeText({ inbox, roots }: Services, [url]: readonly string[]): string {
  const registry = url?.replace(/^https?:\/\//, '');
  const pull = registry
    ? [
        '  A moment later it can be pulled, whole:',
        '',
        `    docker pull ${registry}/alpine:3.19`,
        `    skopeo copy --src-tls-verify=false docker://${registry}/alpine:3.19 oci:alpine:3.19`,
      ]
    : [
        '  A moment later it is published, whole:',
        '',
        `    ls ${roots.published}/web/alpine/manifests/*/`,
      ];
  return [
    '',
    '  dropdock is running. Put an image into its inbox, for example:',
    '',
    `    docker save alpine:3.19 -o ${inbox}/alpine:3.19.tar`,
    `    skopeo copy docker://docker.io/library/alpine:3.19 oci:${inbox}/alpine:3.19`,
    '',
    ...pull,
    `    cat ${inbox}/.receipts/*.json`,
    '',
    '',
  ].join('\n');
}
