/** The daemon: what is started, in which order, and how it ends. */
import { type DropdockError, faultOf } from '../errors.js';
import { type Claim, claimKey } from '../inbox/paths.js';
import { errorFields, formatReceipt, rejectedReceipt } from '../report.js';
import type { Settings } from '../settings/schema.js';
import { toTimestamp } from '../snapshot/timestamp.js';
import { BoardKeeper } from './board-keeper.js';
import { Intake } from './intake.js';
import { Publisher } from './publisher.js';
import type { Services } from './services.js';
import { cleanAll, isEnding, recover, takeOverFromDead } from './upkeep.js';

export interface Daemon {
  /** Rejects when a bug was found: the process must end, and its manager starts it again. */
  readonly failed: Promise<never>;
  /** False when looks at the inbox come to no end any more: only a restart helps. */
  isAlive(): boolean;
  /** The settings have changed: what waits is judged by the new ones. */
  reload(): void;
  /** Stops taking drops, lets running publishes end for a while, leaves the rest claimed. */
  stop(): Promise<void>;
}

/** A look at a huge inbox on a slow disk may take minutes; ending the process would not hasten it. */
const LOOK_MS_MAX = 10 * 60_000;

export async function startDaemon(services: Services): Promise<Daemon> {
  const { run, inbox, log, settings } = services;
  const { failed, fail } = failure();
  await run('prepareInbox', { inbox });

  const publisher = new Publisher(services, {
    onBug: fail,
    onPublished: () => intake.repositoriesChanged(),
    gather: (id) => intake.gathered(id),
    onReturned: (drop) => intake.returned(drop),
  });
  const intake: Intake = new Intake(services, {
    onClaimed: (drop) => publisher.add(drop),
    onRefused: (claim, name, error) => refuse(services, claim, name, error),
    onBug: fail,
  });
  await recover(services, intake);
  intake.start();
  const keeper = new BoardKeeper(services);
  const upkeep = repeat(settings.retention.interval, () => cleanAll(services));
  const takeover = repeat(lookForDeadMs(settings), () => takeOverFromDead(services, intake));
  log('info', 'daemon.ready', { inbox, published: services.roots.published, pid: process.pid });

  return {
    failed,
    stop,
    isAlive: () => intake.sinceLookMs() < LOOK_MS_MAX + settings.inbox.scan,
    reload: () => intake.lookWithin(0),
  };

  /** @returns a function that ends the repetition and waits for the one that runs */
  function repeat(everyMs: number, work: () => Promise<unknown>): () => Promise<void> {
    let running: Promise<void> | undefined;
    const timer = setInterval(() => {
      running ??= work()
        .then(
          () => {},
          (error) => {
            if (faultOf(error) === 'bug') fail(error);
            else if (!isEnding(error)) log('warn', 'daemon.warning', errorFields(error as Error));
          },
        )
        .finally(() => {
          running = undefined;
        });
    }, everyMs);
    return async () => {
      clearInterval(timer);
      await running;
    };
  }

  async function stop(): Promise<void> {
    log('info', 'daemon.stopping', {});
    await keeper.stop();
    const ended = Promise.all([intake.stop(), publisher.stop(), upkeep(), takeover()]);
    let timer: NodeJS.Timeout | undefined;
    const impatience = new Promise((resolve) => {
      timer = setTimeout(resolve, settings.shutdown.wait, 'late');
    });
    const how = await Promise.race([ended, impatience]);
    clearTimeout(timer);
    // What still runs is before its flip or after it; either way the next start finishes it.
    log('info', 'daemon.stopped', { left: how === 'late' ? 'a running publish' : undefined });
  }
}

/** What rejects when it is told to, and is no trouble when nobody listens. */
function failure(): { failed: Promise<never>; fail: (error: unknown) => void } {
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  return { failed, fail };
}

/** Where the kernel does not tell who lives, one must look often to notice a silence in its time. */
function lookForDeadMs({ lock }: Settings): number {
  return lock.kernel ? lock.stale : lock.stale / 4;
}

/** A drop whose name cannot be read never gets to a repository: it is rejected at once. */
async function refuse(
  services: Services,
  claim: Claim,
  name: string,
  error: DropdockError,
): Promise<void> {
  const { run, inbox, nowMs, log } = services;
  const frame = {
    drop: name,
    repository: null,
    id: null,
    claim: claim.name,
    claimedAt: claim.at,
    finishedAt: toTimestamp(nowMs()),
    tookMs: 0,
  };
  const receipt = formatReceipt(rejectedReceipt(error, frame));
  await run('letGoRejected', { inbox, claim, receipt });
  services.liveClaims.delete(claimKey(claim));
  log('warn', 'drop.rejected', { drop: name, ...errorFields(error) });
}
