/** `dropdock run` and `dropdock serve`: they run until a signal ends them. */
import { resolve } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { crash } from '../crash.js';
import { startDaemon } from '../daemon/daemon.js';
import { type EndpointState, endpointText } from '../daemon/endpoint-state.js';
import { openMonitor } from '../daemon/monitor.js';
import { Notifier } from '../daemon/notifier.js';
import { openRegistry } from '../daemon/registry.js';
import { openServices, threadsFor } from '../daemon/services.js';
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
import { welcomeText } from './welcome.js';

/** The environment of a long-running process. */
export interface Process {
  /** Resolves with the signal's name when the process is asked to end. */
  readonly stopRequested: Promise<string>;
  /** Registers a callback for SIGHUP. */
  readonly onReload: (reload: () => void) => void;
  /** Descriptors of the sockets that systemd opened for this process. */
  readonly inheritedSockets: readonly number[];
  /** The service manager's notification socket. */
  readonly manager: ManagerAddress;
  /** Reads the settings again from their sources. @throws settings.invalid */
  readonly readSettings: () => LoadedSettings;
  /** Reopens the log file and applies these settings. */
  readonly reopenLog: (settings: Settings['log']) => void;
  /** Passed on to the programs that `notify` runs. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The package's version. */
  readonly version: string;
  /** The image that ships with dropdock; undefined if it is not installed. */
  readonly sample: string | undefined;
}

export interface RunOptions extends Process {
  /** Print where to drop images, with example commands. */
  readonly welcome: boolean;
}

/**
 * V8 recompiles a function with its optimizing compiler after it has executed this many bytes of bytecode
 * (V8's default is 66 KiB, three times); each thread compiles for itself. Drops come in bursts of a second
 * or two per thread, too short to pay for that: 2,000 drops took about 8 % less time (measured with
 * 500,000). The cost: under constant load the endpoint reaches full speed after two seconds, not one.
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
      what: 'no kernel locks on this machine: the lock of a dead process is released only after lock.stale',
    });
  }
  warnOfMount(settings, log);
  const manager = openManager(outside, log);
  const services = await openServices(current.now, log, threadsFor(settings), events);
  try {
    // Before recovery, which may take long: published images can be pulled at once.
    const { roots, run, board, liveClaims, inbox } = services;
    const shown = { settings: current.now, roots, run, log, board, monitor, version };
    let changed = () => {};
    const onChange = () => changed();
    const owned = { ownsState: true, inherited: outside.inheritedSockets, onChange };
    const registry = await openRegistry({ ...shown, ...owned }, 'retry');
    const daemon = await startDaemon(services, () => ({ version, endpoint: registry.state }));
    const isTelling = settings.notify.length > 0;
    const notifier = isTelling ? new Notifier(services, environment) : undefined;
    const noticesWaiting = () => notifier?.waiting ?? 0;
    monitor.watch({ liveClaims, run, roots, noticesWaiting, endpoint: () => registry.state });
    const status = () => statusLine(registry.state, inbox);
    changed = () => {
      manager.status(status());
      daemon.endpointChanged();
    };
    onReload({ current, log, outside, manager, status }, async () => {
      await registry.reload();
      daemon.reload();
    });
    if (welcome) {
      const { ownInbox } = services;
      const facts = {
        version,
        inbox,
        ownInbox,
        published: roots.published,
        sample: outside.sample,
      };
      const { commandLine } = context;
      context.print(welcomeText({ ...facts, endpoint: registry.state, commandLine }));
    }
    manager.guard(daemon.isAlive);
    manager.ready(status());
    await Promise.race([outside.stopRequested, daemon.failed]);
    manager.stopping('Waiting for running publishes and pulls');
    await Promise.all([daemon.stop(), registry.close()]);
    await notifier?.stop();
    return EXIT.done;
  } finally {
    await monitor.close();
    await services.close();
    await manager.close();
  }
}

/** With several daemons, a client that caches NFS lookups sees an old pivot, and tags are lost. */
function warnOfMount({ paths }: Settings, log: Log): void {
  const mount = mountOf(resolve(paths.published));
  if (mount === undefined || !remembersNames(mount)) return;
  log('warn', 'daemon.warning', {
    what: `${paths.published} is on NFS without lookupcache=none: run only one daemon, or tags are lost (docs/reach.md)`,
  });
}

/** `dropdock serve`: only the endpoint; it never changes the tree. */
export async function serveRegistry(
  context: CommandContext,
  ownLog: Log,
  outside: Process,
): Promise<ExitCode> {
  const { settings } = context;
  if (settings.registry.listen === null && outside.inheritedSockets.length === 0) {
    throw new DropdockError(
      'usage.invalid',
      'registry.listen is null: serve needs an address to listen on.',
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
    const shown = { settings: current.now, roots: rootsOf(context), run, log, monitor, version };
    const inherited = outside.inheritedSockets;
    const registry = await openRegistry({ ...shown, inherited }, 'throw');
    const status = () => statusLine(registry.state);
    onReload({ current, log, outside, manager, status }, () => registry.reload());
    // No further check: the watchdog timer stops with the event loop.
    manager.guard(() => true);
    manager.ready(status());
    await outside.stopRequested;
    log('info', 'daemon.stopping', {});
    manager.stopping('Waiting for running pulls');
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
    log('warn', 'daemon.warning', { what: 'notifying systemd', ...errorFields(error) }),
  );
}

interface Running {
  readonly current: CurrentSettings;
  readonly log: Log;
  readonly outside: Process;
  readonly manager: ServiceManager;
  /** Returns the status line for systemd. */
  readonly status: () => string;
}

/** @param after called after each reload: the settings, or the files they name, may have changed */
function onReload({ current, log, outside, manager, status }: Running, after: () => Promise<void>) {
  let last = Promise.resolve();
  outside.onReload(() => {
    last = last.then(reload).catch(crash);
  });

  async function reload(): Promise<void> {
    manager.reloading();
    const read = readAgain();
    // Even if the settings are invalid: logrotate may have rotated the log, or a certificate is renewed.
    // Reopening comes first, so that the new file has the messages about this reload.
    outside.reopenLog(current.now().log);
    const trouble = tell(read);
    await after().catch((error) => {
      log('warn', 'daemon.warning', {
        what: 'reloading certificates and passwords',
        ...errorFields(error as Error),
      });
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

  /** Logs the result of the reload. @returns a prefix for systemd's status line, empty on success */
  function tell(read: ReturnType<typeof readAgain>): string {
    if (read instanceof Error) {
      const { code, message, hint } = errorFields(read);
      log('error', 'settings.refused', { code, message, hint });
      return `Invalid settings, keeping the previous ones: ${message}. `;
    }
    const [changed, restart] = [read.applied.join(','), read.waiting.join(',')];
    log(read.waiting.length > 0 ? 'warn' : 'info', 'settings.reloaded', {
      changed: changed || undefined,
      restart: restart || undefined,
    });
    return '';
  }
}

function statusLine(endpoint: EndpointState, inbox?: string): string {
  const where = endpointText(endpoint);
  return inbox === undefined ? where : `${where}; inbox ${inbox}`;
}
