/**
 * Scans the inbox and claims drops. A scan runs at start, after each file system event and every inbox.scan.
 * Only the scan decides; an event just makes it run sooner.
 */
import { DropdockError, faultOf, hasErrno } from '../errors.js';
import { type ClaimResult, claimUid } from '../inbox/claim.js';
import { whatForbids } from '../inbox/forbidden.js';
import { type Claim, claimKey } from '../inbox/inbox-paths.js';
import type { Observation, ScanResult } from '../inbox/scan.js';
import { scan } from '../inbox/scan-job.js';
import { incomplete, Settler, type SettleSettings, type Times } from '../inbox/settle.js';
import { InboxWatch, placesToWatch } from '../inbox/watch.js';
import type { ClaimedDrop } from '../publisher/drop-record.js';
import { errorFields } from '../report.js';
import { type ClaimableDrop, toClaimedDrop } from './claimed-drop.js';
import { Claiming } from './claiming.js';
import { inChunks } from './in-chunks.js';
import { ScanTimer } from './scan-timer.js';
import type { Services } from './services.js';

/** Events come in bursts; one scan handles all events so far, the next one those that arrive during it. */
const AT_ONCE_MS = 0;
/** The pause after a scan is at least ten times the scan's duration, if no event comes. */
const SCAN_SHARE = 10;

/** An unreadable drop is mentioned again after this time. */
const REMIND_MS = 60 * 60_000;

/** The last reason mentioned for a drop, and when (monotonic clock). */
interface Said {
  readonly reason: string;
  readonly sinceMs: number;
  /** The drop has changed since, so the status shows something else. */
  readonly hasGrown?: boolean;
}

/** A claimed drop; its owner's uid if that is known. */
type Adopted = Omit<ClaimableDrop, 'by'> & { readonly uid?: number | undefined };

export interface IntakeHooks {
  readonly onClaimed: (drop: ClaimedDrop) => void;
  /** Called for a drop that can never be published: it is claimed and rejected. */
  readonly onRefused: (
    claim: Claim,
    drop: { readonly name: string; readonly by: string | undefined },
    error: DropdockError,
  ) => Promise<void>;
  readonly onBug: (error: unknown) => void;
}

export class Intake {
  readonly #services: Services;
  readonly #hooks: IntakeHooks;
  readonly #settler: Settler;
  readonly #said = new Map<string, Said>();
  #watch: InboxWatch | undefined;
  readonly #claiming: Claiming;
  readonly #timer: ScanTimer;
  #stopped = false;
  #lookedMs: number;

  constructor(services: Services, hooks: IntakeHooks) {
    this.#services = services;
    this.#hooks = hooks;
    this.#lookedMs = services.monotonicMs();
    this.#claiming = new Claiming(services);
    this.#settler = new Settler(settleSettings(services));
    this.#timer = new ScanTimer({
      look: () => this.#look(),
      monotonicMs: services.monotonicMs,
      mostMs: () => services.settings.inbox.scan,
    });
  }

  /** Starts the first scan at once. */
  start(): void {
    const { settings, inbox, log } = this.#services;
    if (settings.inbox.watch) {
      this.#watch = new InboxWatch(
        inbox,
        () => this.lookWithin(AT_ONCE_MS),
        (error) =>
          log('warn', 'daemon.warning', { what: 'watching the inbox', ...errorFields(error) }),
      );
    }
    this.lookWithin(AT_ONCE_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const looked = this.#timer.stop();
    await this.#watch?.close();
    await looked;
  }

  /** The content of a repository has changed, so a thin drop may now be complete. */
  repositoriesChanged(): void {
    this.#settler.forgetVerdicts();
    if (this.#said.size > 0) this.lookWithin(AT_ONCE_MS);
  }

  /** A drop that was claimed too early was returned to the inbox; it waits for the rest of settle.timeout. */
  returned({ name, look }: ClaimedDrop): void {
    if (look) this.#settler.resume(name, look.signature, look.sinceMs, incomplete('its end'));
    this.lookWithin(AT_ONCE_MS);
  }

  /** Milliseconds since the last scan ended, successful or not. */
  sinceLookMs(): number {
    return this.#services.monotonicMs() - this.#lookedMs;
  }

  /** Makes sure that a scan starts within this time (ms). */
  lookWithin(delayMs: number): void {
    this.#timer.within(delayMs);
  }

  async #look(): Promise<void> {
    const { settings, log, monotonicMs } = this.#services;
    const startedMs = monotonicMs();
    let recheckMs = settings.inbox.scan;
    try {
      recheckMs = Math.min(recheckMs, await this.#scan());
    } catch (error) {
      if (faultOf(error) === 'bug') this.#hooks.onBug(error);
      const fields = { what: 'scanning the inbox', ...errorFields(error as Error) };
      if (!this.#stopped) log('error', 'daemon.warning', fields);
    }
    this.#lookedMs = monotonicMs();
    const costMs = (this.#lookedMs - startedMs) * SCAN_SHARE;
    this.lookWithin(Math.max(recheckMs, Math.min(costMs, settings.inbox.scan)));
  }

  /** @returns the longest time until the next scan (ms) */
  async #scan(): Promise<number> {
    const { run, inbox, ownInbox: own, settings, owner, monotonicMs, events } = this.#services;
    const marker = settings.settle.marker ?? undefined;
    const beganMs = performance.now();
    const removes = settings.inbox.after === 'remove';
    const seen = await run(scan, { inbox, own, marker, clock: owner.token, removes });
    this.#tellScanned(seen, performance.now() - beganMs);
    const againMs = this.#watch?.follow(seen.directories, monotonicMs()) ?? settings.inbox.scan;
    await inChunks(seen.ignored, ({ path, reason, isUnreadable }) =>
      this.#mention(path, isUnreadable ? 'drop.unreadable' : 'drop.ignored', reason),
    );
    await inChunks(seen.left, ({ path, reason }) => this.#mention(path, 'drop.left', reason));
    const paths = new Set(seen.drops.map(({ path }) => path));
    this.#settler.keepOnly(paths);
    for (const { path } of [...seen.ignored, ...seen.left]) paths.add(path);
    const gone = [...this.#said.keys()].filter((path) => !paths.has(path));
    await inChunks(gone, (drop) => {
      this.#said.delete(drop);
      events.emit({ type: 'drop.gone', drop });
    });
    const soonest = Math.min(settings.inbox.scan, againMs);
    const { filesystemMs } = seen;
    const awaiting = new Set<string>();
    if (filesystemMs === undefined) {
      this.#watch?.awaitOnly(awaiting);
      return soonest;
    }
    const times = { filesystemMs, monotonicMs: monotonicMs() };
    const rechecks: Promise<number>[] = [];
    await inChunks(seen.drops, (drop) => {
      if (this.#stopped) return;
      const recheck = this.#consider(drop, times, awaiting).catch((error) =>
        this.#warn(drop.path, error),
      );
      recheck.catch(() => {}); // It may reject before it is awaited.
      rechecks.push(recheck);
    });
    const least = (await Promise.all(rechecks)).reduce((a, b) => Math.min(a, b), soonest);
    this.#watch?.awaitOnly(awaiting);
    return least;
  }

  #tellScanned({ drops, ignored, left }: ScanResult, tookMs: number): void {
    const { emit } = this.#services.events;
    const paths = drops.map(({ path }) => path);
    emit({ type: 'step.done', step: 'scan', tookMs });
    const unreadable = ignored.filter((each) => each.isUnreadable).length;
    const counts = { ignored: ignored.length - unreadable, left: left.length, unreadable };
    emit({ type: 'inbox.scanned', drops: paths, ...counts, tookMs });
  }

  /**
   * @param awaiting its path is added if the drop is quiet and incomplete: the watch then waits for its change
   * @returns the longest time until its next check (ms)
   */
  async #consider(seen: Observation, times: Times, awaiting: Set<string>): Promise<number> {
    const { events, settings } = this.#services;
    if (!this.#said.has(seen.path)) {
      this.#said.set(seen.path, { reason: '', sinceMs: this.#services.monotonicMs() });
      events.emit({ type: 'drop.seen', drop: seen.path });
    }
    let decision = this.#settler.decide(seen, times);
    if (decision.action === 'examine') {
      const { verdict, claim, uid, held } = await this.#claiming.claim(seen);
      this.#settler.conclude(seen.path, verdict);
      if (claim !== undefined) {
        await this.#taken(seen, claim, { tolerateAbsent: false, uid, held });
        return settings.inbox.scan;
      }
      decision = this.#settler.decide(seen, times);
    }
    if (decision.action === 'take') {
      const { tolerateAbsent } = decision;
      const { claim, uid } = await this.#claiming.claim(seen, true);
      if (claim !== undefined) await this.#taken(seen, claim, { tolerateAbsent, uid });
      return settings.inbox.scan;
    }
    if (decision.action === 'ignore') this.#mention(seen.path, 'drop.ignored', decision.reason);
    if (decision.action !== 'wait') return settings.inbox.scan;
    if (decision.reason) this.#mention(seen.path, 'drop.waiting', decision.reason);
    else this.#grows(seen);
    const { missing, recheckMs } = decision;
    if (missing === undefined || this.#watch === undefined) return recheckMs;
    awaiting.add(seen.path);
    const isNew = this.#watch.awaitChange(seen.path, placesToWatch(seen, missing));
    return isNew ? Math.min(recheckMs, settings.settle.quiet) : recheckMs;
  }

  async #taken(
    seen: Observation,
    claim: ClaimResult,
    how: Pick<Adopted, 'tolerateAbsent' | 'uid' | 'held'>,
  ): Promise<void> {
    const { settings, events } = this.#services;
    const { path, kind, signature } = seen;
    const sinceMs = this.#settler.sinceOf(path);
    if (typeof claim === 'string') return this.lookWithin(settings.settle.quiet);
    this.#said.delete(path);
    events.emit({ type: 'drop.claimed', drop: path });
    const look = sinceMs === undefined ? undefined : { signature, sinceMs };
    await this.adopt(claim, { path, kind, look, ...how });
  }

  /** Passes a claim on: to be published, or rejected if its name is invalid. */
  async adopt(claim: Claim, { uid, ...taken }: Adopted): Promise<void> {
    const { liveClaims } = this.#services;
    liveClaims.add(claimKey(claim));
    const by = await this.#ownerName(claim, uid);
    try {
      this.#hooks.onClaimed(toClaimedDrop(this.#services, claim, { ...taken, by }));
    } catch (error) {
      await taken.held?.release();
      // If the rejection fails, the upkeep must adopt the claim again.
      if (!(error instanceof DropdockError) || error.fault !== 'content') throw error;
      await this.#hooks.onRefused(claim, { name: taken.path, by }, error).catch((failure) => {
        liveClaims.delete(claimKey(claim));
        throw failure;
      });
    }
  }

  /** @param known undefined for a claim that was taken over */
  async #ownerName(claim: Claim, known: number | undefined): Promise<string | undefined> {
    const { run, ownInbox: inbox, users } = this.#services;
    const uid = known ?? (await run(claimUid, { inbox, claim }).catch(() => undefined));
    return uid === undefined ? undefined : users.nameOf(uid);
  }

  /** Reports an error of one drop; the others go on. @returns the longest time until its next check (ms) */
  async #warn(drop: string, error: unknown): Promise<number> {
    if (faultOf(error) === 'bug') throw error;
    const { run, inbox, settings } = this.#services;
    const { message, code } = errorFields(error as Error);
    const { first } = settings.retry;
    const isForbidden = hasErrno(error, 'EACCES', 'EPERM');
    const explain = () => run(whatForbids, { inbox, path: drop }).catch(() => message);
    const what = isForbidden ? await explain() : message;
    // An explanation ends with the command to run.
    const reason = isForbidden ? what : `${what} (${code}); next check within ${first / 1000}s`;
    if (!this.#stopped)
      this.#mention(drop, isForbidden ? 'drop.unreadable' : 'drop.waiting', reason);
    return first;
  }

  #grows({ path, bytes }: Observation): void {
    const said = this.#said.get(path);
    if (said) this.#said.set(path, { ...said, hasGrown: true });
    this.#services.events.emit({ type: 'drop.growing', drop: path, bytes });
  }

  /** Emits what has changed, and once an hour what only a person can change. */
  #mention(
    path: string,
    event: 'drop.waiting' | 'drop.ignored' | 'drop.left' | 'drop.unreadable',
    reason: string,
  ): void {
    const nowMs = this.#services.monotonicMs();
    const said = this.#said.get(path);
    const isDue = event === 'drop.unreadable' && nowMs - (said?.sinceMs ?? 0) >= REMIND_MS;
    const isRepeated = said?.reason === reason && !isDue;
    if (isRepeated && !said.hasGrown) return;
    this.#said.set(path, { reason, sinceMs: isRepeated ? said.sinceMs : nowMs });
    this.#services.events.emit({ type: event, drop: path, reason, isRepeated });
  }
}

/** Reads the settings at each decision, so that a reload applies. */
function settleSettings(services: Services): SettleSettings {
  return {
    get quietMs() {
      return services.settings.settle.quiet;
    },
    get timeoutMs() {
      return services.settings.settle.timeout;
    },
  };
}
