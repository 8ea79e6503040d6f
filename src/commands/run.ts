/** `dropdock run` and `dropdock serve`: what goes on until a signal ends it. */
import { startDaemon } from '../daemon/daemon.js';
import { openRegistry, type Registry } from '../daemon/registry.js';
import { openServices, type Services } from '../daemon/services.js';
import { hasKernelLocks } from '../disk/kernel-lock.js';
import { DropdockError } from '../errors.js';
import type { Log } from '../log.js';
import { ThreadPool } from '../threads/pool.js';
import { type CommandContext, EXIT, type ExitCode, rootsOf } from './context.js';

/** What reaches a long-running process from outside. */
export interface Process {
  /** Resolves when the process was asked to end. */
  readonly stopRequested: Promise<string>;
  /** Calls this whenever the process is asked to read its files again. */
  readonly onReload: (reload: () => void) => void;
  /** Descriptors of the sockets that systemd opened for us. */
  readonly inheritedSockets: readonly number[];
}

export interface RunOptions extends Process {
  /** Tell a newcomer where to drop, with one example to paste. */
  readonly welcome: boolean;
}

export async function runDaemon(
  context: CommandContext,
  log: Log,
  { welcome, stopRequested, onReload, inheritedSockets }: RunOptions,
): Promise<ExitCode> {
  log('debug', 'daemon.starting', { pid: process.pid });
  if (!hasKernelLocks) {
    log('warn', 'daemon.warning', {
      what: 'no kernel locks on this machine; run one daemon only on this tree',
    });
  }
  const services = await openServices(context.settings, log);
  let registry: Registry | undefined;
  try {
    // What is published can be pulled at once, whatever recovery finds to do.
    registry = await openRegistry({ ...services, inherited: inheritedSockets }, 'retry');
    onReload(() => void registry?.reload());
    const daemon = await startDaemon(services);
    if (welcome) context.print(welcomeText(services, registry.urls));
    await Promise.race([stopRequested, daemon.failed]);
    await Promise.all([daemon.stop(), registry.close()]);
    return EXIT.done;
  } finally {
    await services.close();
  }
}

/** `dropdock serve`: the endpoint alone, over a tree that it cannot change. */
export async function serveRegistry(
  context: CommandContext,
  log: Log,
  { stopRequested, onReload, inheritedSockets }: Process,
): Promise<ExitCode> {
  const { settings } = context;
  if (settings.registry.listen === null && inheritedSockets.length === 0) {
    throw new DropdockError(
      'usage.invalid',
      'registry.listen is null: there is nowhere to listen.',
    );
  }
  const hands = new ThreadPool({ hashThreads: 1 });
  try {
    const options = { settings, roots: rootsOf(context), run: hands.run, log };
    const registry = await openRegistry({ ...options, inherited: inheritedSockets }, 'throw');
    onReload(() => void registry.reload());
    await stopRequested;
    log('info', 'daemon.stopping', {});
    await registry.close();
    log('info', 'daemon.stopped', {});
    return EXIT.done;
  } finally {
    await hands.close();
  }
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
