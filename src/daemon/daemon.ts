/** The daemon: what is started, in which order, and how it ends. */
import pTimeout from 'p-timeout';
import { faultOf } from '../errors.js';
import { prepareInbox } from '../inbox/claim.js';
import type { OnceContext } from '../publisher/publish-once.js';
import { Publisher, type PublisherContext } from '../publisher/publisher.js';
import { errorFields } from '../report.js';
import { resolveRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import { stage } from '../staging/stage.js';
import { InboxStatusWriter } from './inbox-status-writer.js';
import { Intake } from './intake.js';
import type { Services } from './services.js';
import { SpareTreeTimer } from './spare-tree-timer.js';
import { Tidying } from './tidying.js';
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
  const { run, inbox, log } = services;
  const { failed, fail } = failure();
  await run(prepareInbox, { inbox });

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
    onRefused: (claim, name, error) => publisher.refuse(claim, name, error),
    onBug: fail,
  });
  await recover(services, intake);
  intake.start();
  const keeper = new InboxStatusWriter(services);
  const warn = (error: unknown) => {
    if (faultOf(error) === 'bug') fail(error);
    else if (!isEnding(error)) log('warn', 'daemon.warning', errorFields(error as Error));
  };
  const upkeep = repeat(services.settings.retention.interval, () => cleanAll(services), warn);
  const findDeadOwners = () => takeOverFromDead(services, intake);
  const takeover = repeat(findDeadEveryMs(services.settings), findDeadOwners, warn);
  log('info', 'daemon.ready', { inbox, published: services.roots.published, pid: process.pid });

  return {
    failed,
    stop,
    isAlive: () => intake.sinceLookMs() < LOOK_MS_MAX + services.settings.inbox.scan,
    reload: () => intake.lookWithin(0),
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
    // What still runs is before its flip or after it; either way the next start finishes it.
    log('info', 'daemon.stopped', { left: how === 'late' ? 'a running publish' : undefined });
  }
}

/**
 * Runs `work` again and again, never twice at once.
 * @returns a function that ends the repetition and waits for the one that runs
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
function findDeadEveryMs({ lock }: Settings): number {
  return lock.kernel ? lock.stale : lock.stale / 4;
}

/** What a command publishes one drop with, and the publisher all of them; settings are asked each time. */
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
  const { inbox, liveClaims, notices } = services;
  return {
    ...onceContext(services),
    inbox,
    liveClaims,
    retry: () => services.settings.retry,
    nowMs: () => services.nowMs(),
    monotonicMs: () => services.monotonicMs(),
    beforeRejection: (receipt) => notices.beforeRejection(receipt),
  };
}
