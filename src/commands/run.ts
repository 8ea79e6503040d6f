/** `dropdock run`: the daemon, until a signal ends it. */
import { startDaemon } from '../daemon/daemon.js';
import { openServices, type Services } from '../daemon/services.js';
import { hasKernelLocks } from '../disk/kernel-lock.js';
import type { Log } from '../log.js';
import { type CommandContext, EXIT, type ExitCode } from './context.js';

export interface RunOptions {
  /** Tell a newcomer where to drop, with one example to paste. */
  readonly welcome: boolean;
  /** Resolves when the process was asked to end. */
  readonly stopRequested: Promise<string>;
}

export async function runDaemon(
  context: CommandContext,
  log: Log,
  { welcome, stopRequested }: RunOptions,
): Promise<ExitCode> {
  log('debug', 'daemon.starting', { pid: process.pid });
  if (!hasKernelLocks) {
    log('warn', 'daemon.warning', {
      what: 'no kernel locks on this machine; run one daemon only on this tree',
    });
  }
  const services = await openServices(context.settings, log);
  try {
    const daemon = await startDaemon(services);
    if (welcome) context.print(welcomeText(services));
    await Promise.race([stopRequested, daemon.failed]);
    await daemon.stop();
    return EXIT.done;
  } finally {
    await services.close();
  }
}

function welcomeText({ inbox, roots }: Services): string {
  return [
    '',
    '  dropdock is running. Put an image into its inbox, for example:',
    '',
    `    docker save alpine:3.19 -o ${inbox}/alpine:3.19.tar`,
    `    skopeo copy docker://docker.io/library/alpine:3.19 oci:${inbox}/alpine:3.19`,
    '',
    '  A moment later it is published, whole:',
    '',
    `    ls ${roots.published}/web/alpine/manifests/*/`,
    `    cat ${inbox}/.receipts/*.json`,
    '',
    '',
  ].join('\n');
}
