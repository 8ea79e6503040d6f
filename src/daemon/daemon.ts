/** Starts the parts of the daemon in order, and stops them. */
import pTimeout from 'p-timeout';
import { faultOf } from '../errors.js';
import { prepareInbox } from '../inbox/claim.js';
import type { OnceContext } from '../publisher/publish-once.js';
import { Publisher, type PublisherContext } from '../publisher/publisher.js';
import { errorFields } from '../report.js';
import { resolveRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import { stage } from '../staging/stage.js';
import { type AboutDaemon, InboxStatusWriter } from './inbox-status-writer.js';
import { Intake } from './intake.js';
import { logCommands } from './log-commands.js';
import type { Services } from './services.js';
import { SpareTreeTimer } from './spare-tree-timer.js';
import { Tidying } from './tidying.js';
import { cleanAll, isEnding, recover, takeOverFromDead } from './upkeep.js';

export interface Daemon {
  /** Rejects on a bug: the process must then end, so that the service manager restarts it. */
  readonly failed: Promise<never>;
  /** False if scans of the inbox no longer end: only a restart helps. */
  isAlive(): boolean;
  /** Applies changed settings: waiting drops are examined again. */
  reload(): void;
  /** The endpoint listens, or does not listen for another reason: `dropdock status` shows it. */
  endpointChanged(): void;
  /** Stops claiming, waits up to shutdown.wait for running publishes, leaves other drops claimed. */
  stop(): Promise<void>;
}

/** Scanning a huge inbox on a slow disk can take minutes; restarting would not make it faster. */
const LOOK_MS_MAX = 10 * 60_000;

/** @param about what the status file says about the daemon itself */
export async function startDaemon(
  services: Services,
  about?: () => AboutDaemon | undefined,
): Promise<Daemon> {
  const { run, inbox, ownInbox, log } = services;
  const { failed, fail } = failure();
  await run(prepareInbox, { inbox, own: ownInbox });

  const publisher: Publisher = new Publisher(publisherContext(services), {
    onBug: fail,
    onPublished: () => intake.repositoriesChanged(),
    onReturned: (drop) => intake.returned(drop),
    onFinished: () => tidying.want(),
  });
  const tidying = new Tidying(services, () => publisher.isBusy);
  const spares = new SpareTreeTimer(services);
  const intake: Intake = new Intake(services, {
    onClaimed: (drop) => publisher.add(drop),
    onRefused: (claim, drop, error) => publisher.refuse(claim, drop, error),
    onBug: fail,
  });
  await recover(services, intake);
  intake.start();
  const keeper = new InboxStatusWriter(services, about);
  const warn = (error: unknown) => {
    if (faultOf(error) === 'bug') fail(error);
    else if (!isEnding(error)) log('warn', 'daemon.warning', errorFields(error as Error));
  };
  const upkeep = repeat(services.settings.retention.interval, () => cleanAll(services), warn);
  const findDeadOwners = async () => {
    await takeOverFromDead(services, intake);
    await logCommands(services);
  };
  const takeover = repeat(findDeadEveryMs(services.settings), findDeadOwners, warn);
  log('info', 'daemon.ready', { inbox, published: services.roots.published, pid: process.pid });

  return {
    failed,
    stop,
    isAlive: () => intake.sinceLookMs() < LOOK_MS_MAX + services.settings.inbox.scan,
    reload: () => intake.lookWithin(0),
    endpointChanged: () => keeper.soon(),
  };

  async function stopPublishing(): Promise<void> {
    spares.stop();
    await publisher.stop();
    await tidying.stop();
  }

  async function stop(): Promise<void> {
    log('info', 'daemon.stopping', {});
    await keeper.stop();
    const ended = Promise.all([intake.stop(), stopPublishing(), upkeep(), takeover()]);
    const late = { milliseconds: services.settings.shutdown.wait, fallback: () => 'late' };
    const how = await pTimeout(ended, late);
    // A publish is safe to end at any step; the next start finishes it.
    log('info', 'daemon.stopped', { left: how === 'late' ? 'a running publish' : undefined });
  }
}

/**
 * Runs `work` at an interval; runs never overlap.
 * @returns a function that stops the repetition and waits for a running `work`
 */
function repeat(
  everyMs: number,
  work: () => Promise<unknown>,
  onError: (error: unknown) => void,
): () => Promise<void> {
  let running: Promise<void> | undefined;
  const timer = setInterval(() => {
    running ??= work()
      .then(() => {}, onError)
      .finally(() => {
        running = undefined;
      });
  }, everyMs);
  return async () => {
    clearInterval(timer);
    await running;
  };
}

/** Returns a promise and the function that rejects it; the rejection may stay unhandled. */
function failure(): { failed: Promise<never>; fail: (error: unknown) => void } {
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  return { failed, fail };
}

/** Returns ms. Without kernel locks, dead processes are found by heartbeats, which need frequent checks. */
function findDeadEveryMs({ lock }: Settings): number {
  return lock.kernel ? lock.stale : lock.stale / 4;
}

/** Returns what is needed to publish one drop; reads the settings at each use. */
export function onceContext(services: Services): OnceContext {
  const { roots, uid, transactions, targets, events } = services;
  return {
    roots,
    uid,
    transactions,
    run: (job, request) => services.run(job, request),
    stage,
    emit: events.emit,
    target: targets.get,
    policyOf: (repository) => resolveRepository(services.settings, repository),
    lookAgain: targets.lookAgain,
  };
}

export function publisherContext(services: Services): PublisherContext {
  const { inbox, ownInbox, liveClaims, notices } = services;
  return {
    ...onceContext(services),
    inbox,
    ownInbox,
    liveClaims,
    retry: () => services.settings.retry,
    nowMs: () => services.nowMs(),
    monotonicMs: () => services.monotonicMs(),
    beforeRejection: (receipt) => notices.beforeRejection(receipt),
  };
}
