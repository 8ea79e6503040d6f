/** Sends the spooled notifications: one sender for each target of `notify`. */

import { crash } from '../crash.js';
import { deliver } from '../notify/deliver.js';
import type { Notice, Target } from '../notify/notice.js';
import {
  deleteUnknownFiles,
  deliveryLockPath,
  listNotices,
  prepareSpool,
  readNotice,
  removeNotice,
} from '../notify/queue.js';
import { Sender } from '../notify/sender.js';
import { errorFields } from '../report.js';
import { type KernelLock, tryKernelLock } from '../storage/kernel-lock.js';
import { formatSeconds } from '../units.js';
import type { Services } from './services.js';

/** Interval of checks for notifications from commands; those of the daemon itself are seen at once. */
const LOOK_MS = 2000;
/** Time limit for running deliveries at shutdown; waiting notifications are sent after the next start. */
const LAST_MS = 3000;

export class Notifier {
  readonly #services: Services;
  readonly #senders: ReadonlyMap<string, Sender>;
  readonly #timer: NodeJS.Timeout;
  #waiting = 0;
  #isPrepared = false;
  #lock: KernelLock | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;

  /**
   * Starts at once. Never throws: errors are logged and the work is retried.
   * @param environment passed on to programs, in addition to the variables of the notification
   */
  constructor(services: Services, environment: Readonly<Record<string, string | undefined>>) {
    const { notices } = services;
    this.#services = services;
    this.#senders = new Map(
      notices.targets.map((target) => [target.key, senderFor(services, target, environment)]),
    );
    notices.onSpooled = () => this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#look();
  }

  /** Number of notifications that waited at the last check. */
  get waiting(): number {
    return this.#waiting;
  }

  async stop(): Promise<void> {
    const { notices, log } = this.#services;
    clearInterval(this.#timer);
    notices.onSpooled = () => {};
    await this.#looking;
    await Promise.all([...this.#senders.values()].map((sender) => sender.stop(LAST_MS)));
    this.#waiting = await this.#countWaiting().catch(() => this.#waiting);
    if (this.#waiting > 0) log('info', 'notify.waiting', { count: this.#waiting });
    this.#lock?.release();
  }

  #look(): void {
    this.#lookAgain = true;
    this.#looking ??= this.#lookWhileAsked()
      .finally(() => {
        this.#looking = undefined;
      })
      .catch(crash);
  }

  async #lookWhileAsked(): Promise<void> {
    const { log } = this.#services;
    while (this.#lookAgain) {
      this.#lookAgain = false;
      try {
        await this.#lookOnce();
      } catch (error) {
        log('warn', 'daemon.warning', {
          what: 'sending notifications',
          ...errorFields(error as Error),
        });
      }
    }
  }

  async #lookOnce(): Promise<void> {
    const { notices, owners } = this.#services;
    if (!this.#isPrepared) await this.#prepare();
    await notices.settleLeft((owner) => owners.isDead(owner));
    this.#waiting = await this.#countWaiting();
    if (this.#waiting === 0 || !this.#isOurTurn()) return;
    for (const sender of this.#senders.values()) sender.look();
  }

  /** Removes notifications of targets that the settings no longer have. */
  async #prepare(): Promise<void> {
    const { notices, run, log } = this.#services;
    const { spool } = notices;
    await run(prepareSpool, { spool });
    const count = await run(deleteUnknownFiles, { spool, keys: [...this.#senders.keys()] });
    const why = 'their target is no longer in the settings';
    if (count > 0) log('error', 'notify.dropped', { count, why });
    this.#isPrepared = true;
  }

  /** True if this daemon is the one that sends; of several daemons on one spool only one does. */
  #isOurTurn(): boolean {
    if (this.#lock !== undefined) return true;
    const { notices, settings } = this.#services;
    const got = tryKernelLock(deliveryLockPath(notices.spool), settings.lock.kernel);
    if (typeof got === 'object') this.#lock = got;
    return got !== 'busy';
  }

  async #countWaiting(): Promise<number> {
    const { notices, run } = this.#services;
    const lists = await Promise.all(
      [...this.#senders.keys()].map((key) => run(listNotices, { spool: notices.spool, key })),
    );
    return lists.reduce((sum, { length }) => sum + length, 0);
  }
}

function senderFor(
  services: Services,
  target: Target,
  environment: Readonly<Record<string, string | undefined>>,
): Sender {
  const { notices, run, log, nowMs } = services;
  const { key, name: to } = target;
  const inBox = { spool: notices.spool, key };
  const about = ({ event, id }: Notice) => ({ to, what: event, id });
  return new Sender({
    box: {
      list: () => run(listNotices, inBox),
      read: (name) => run(readNotice, { ...inBox, name }),
      remove: (name) => run(removeNotice, { ...inBox, name }),
    },
    deliver: (notice, body, signal) => deliver({ target, notice, body, environment, signal }),
    retry: () => services.settings.retry,
    nowMs,
    onSent: (notice, tookMs) =>
      log('info', 'notify.sent', { ...about(notice), took: formatSeconds(tookMs) }),
    onFailed: (notice, why, attempt, nextMs) =>
      log('warn', 'notify.failed', {
        ...about(notice),
        why,
        attempt,
        next: `${(nextMs / 1000).toFixed(1)}s`,
      }),
    onDropped: (notice, why) =>
      log('error', 'notify.dropped', { ...(notice ? about(notice) : { to }), count: 1, why }),
    onTrouble: (error) =>
      log('warn', 'daemon.warning', { what: 'sending notifications', ...errorFields(error) }),
  });
}
