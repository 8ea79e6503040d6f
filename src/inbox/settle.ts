/**
 * Decides when a drop can be claimed: when it is quiet and complete. Pure except for its memory of each drop;
 * all times are arguments.
 */
import { LISTED_MAX } from '../image/limits.js';
import type { Missing } from '../image/staged-content.js';
import type { Observation } from './scan.js';

export interface SettleSettings {
  /** How long nothing must have changed. */
  readonly quietMs: number;
  /** A drop that is quiet but incomplete for this long is rejected. */
  readonly timeoutMs: number;
}

/** The result of reading a drop. 'refused': it will never be complete; the publish reports the reason. */
export type Verdict =
  | { readonly kind: 'whole' }
  | { readonly kind: 'refused' }
  /** Not an image; left alone. */
  | { readonly kind: 'stranger' }
  /** `of`: the number of blobs of the drop, if known. */
  | { readonly kind: 'incomplete'; readonly missing: readonly Missing[]; readonly of?: number };

/** Returns true when the drop is complete, or never will be. The publish reports what is wrong with it. */
export function isClaimable(
  verdict: Verdict,
): verdict is Extract<Verdict, { readonly kind: 'whole' | 'refused' }> {
  return verdict.kind === 'whole' || verdict.kind === 'refused';
}

export type Decision =
  /** Not quiet yet (not worth a log line), or incomplete. */
  | {
      readonly action: 'wait';
      readonly reason: string | undefined;
      readonly recheckMs: number;
      /** Set when it is quiet: the missing content, whose arrival triggers the next scan. */
      readonly missing?: readonly Missing[];
    }
  /** Quiet: read it and decide again with the verdict. */
  | { readonly action: 'examine' }
  | { readonly action: 'ignore'; readonly reason: string }
  | { readonly action: 'take'; readonly tolerateAbsent: boolean };

interface Track {
  signature: string;
  /** Since when the signature is unchanged (monotonic clock). */
  sinceMs: number;
  verdict: Verdict | undefined;
}

export interface Times {
  /** The filesystem's clock. */
  readonly filesystemMs: number;
  /** Monotonic clock. */
  readonly monotonicMs: number;
}

export class Settler {
  readonly #tracks = new Map<string, Track>();

  constructor(readonly settings: SettleSettings) {}

  /** Returns what to do with a drop that was just scanned. */
  decide(seen: Observation, times: Times): Decision {
    const track = this.#track(seen, times.monotonicMs);
    const { quietMs, timeoutMs } = this.settings;
    const sameForMs = times.monotonicMs - track.sinceMs;
    const timedOut = sameForMs >= timeoutMs;
    if (!seen.isMarked) return { action: 'wait', reason: 'its marker file', recheckMs: quietMs };
    // A tool that died leaves temporary files behind. They no longer count after the timeout.
    if (seen.busy !== undefined && !timedOut) {
      return {
        action: 'wait',
        reason: `temporary file ${seen.busy} of a running write`,
        recheckMs: quietMs,
      };
    }
    // Change times decide at once. When they cannot (the clock was set), an unchanged signature decides.
    const quietForMs = times.filesystemMs - seen.newestMs;
    if (quietForMs < quietMs && sameForMs < quietMs) {
      const restMs =
        quietForMs < 0 ? quietMs - sameForMs : quietMs - Math.max(quietForMs, sameForMs);
      return { action: 'wait', reason: undefined, recheckMs: Math.max(restMs, 1) };
    }
    if (track.verdict === undefined) return { action: 'examine' };
    return this.#judge(seen, track.verdict, { timedOut, leftMs: timeoutMs - sameForMs });
  }

  #judge(
    seen: Observation,
    verdict: Verdict,
    { timedOut, leftMs }: { timedOut: boolean; leftMs: number },
  ): Decision {
    if (verdict.kind === 'stranger') return { action: 'ignore', reason: 'no archive of an image' };
    if (isClaimable(verdict)) return { action: 'take', tolerateAbsent: false };
    // The publish finds the same content missing and rejects the drop with the list.
    if (timedOut && seen.isCertain) return { action: 'take', tolerateAbsent: true };
    const recheckMs = Math.max(timedOut ? this.settings.timeoutMs : leftMs, 1);
    const { missing, of } = verdict;
    return { action: 'wait', reason: describeMissing(missing, of), recheckMs, missing };
  }

  /** Remembers the verdict while the drop stays unchanged. */
  conclude(path: string, verdict: Verdict): void {
    const track = this.#tracks.get(path);
    if (track) track.verdict = verdict;
  }

  /** Returns since when the drop is unchanged (monotonic). */
  sinceOf(path: string): number | undefined {
    return this.#tracks.get(path)?.sinceMs;
  }

  /** A drop that was claimed and returned continues to wait, with its verdict. */
  resume(path: string, signature: string, sinceMs: number, verdict: Verdict): void {
    this.#tracks.set(path, { signature, sinceMs, verdict });
  }

  /** A thin drop depends on what its repository serves, which has changed. */
  forgetVerdicts(): void {
    for (const track of this.#tracks.values()) {
      const { verdict } = track;
      const isThin = verdict?.kind === 'incomplete' && verdict.missing.some(({ digest }) => digest);
      if (isThin) track.verdict = undefined;
    }
  }

  /**
   * Forgets drops that are gone.
   * @returns how many remain
   */
  keepOnly(paths: ReadonlySet<string>): number {
    for (const path of this.#tracks.keys()) if (!paths.has(path)) this.#tracks.delete(path);
    return this.#tracks.size;
  }

  #track({ path, signature }: Observation, monotonicMs: number): Track {
    const known = this.#tracks.get(path);
    if (known?.signature === signature) return known;
    const track = { signature, sinceMs: monotonicMs, verdict: undefined };
    this.#tracks.set(path, track);
    return track;
  }
}

/** Returns a text such as "waiting for 2 of 8 blobs: sha256:… (of sha256:…), …". */
export function describeMissing(missing: readonly Missing[], of?: number): string {
  const [first] = missing;
  if (first?.problem !== undefined && missing.length === 1) return `${first.path} ${first.problem}`;
  const listed = missing
    .slice(0, LISTED_MAX)
    .map(({ digest, path, by, platform }) =>
      digest ? `${platform ? `${platform} ` : ''}${digest} (of ${by})` : `${path} (of ${by})`,
    );
  const rest = missing.length - listed.length;
  const what = of === undefined ? 'missing' : `waiting for ${missing.length} of ${of} blobs`;
  return `${what}: ${listed.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

/** A verdict for an incomplete drop when nothing more is known. */
export function incomplete(path: string): Verdict {
  const missing = { digest: '', path, by: 'the drop', tolerable: false, platform: undefined };
  return { kind: 'incomplete', missing: [missing] };
}
