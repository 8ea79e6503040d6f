/**
 * Decides when a drop is taken: when it is still and whole. Pure but for what it remembers of each
 * drop; all times come in as arguments.
 */
import { LISTED_MAX } from '../image/limits.js';
import type { Missing } from '../image/staged-content.js';
import type { Observation } from './scan.js';

export interface SettleSettings {
  /** Nothing may have changed for so long. */
  readonly quietMs: number;
  /** Still and not whole for so long: rejected. */
  readonly timeoutMs: number;
}

/** What reading a drop found. 'refused': it will never be whole; publishing it says why. */
export type Verdict =
  | { readonly kind: 'whole' }
  | { readonly kind: 'refused' }
  /** No image at all, and left alone. */
  | { readonly kind: 'stranger' }
  | { readonly kind: 'incomplete'; readonly missing: readonly Missing[] };

/** Whole, or never to be: what is wrong with it is told when it is published. */
export function isClaimable(
  verdict: Verdict,
): verdict is Extract<Verdict, { readonly kind: 'whole' | 'refused' }> {
  return verdict.kind === 'whole' || verdict.kind === 'refused';
}

export type Decision =
  /** Not still yet (no reason worth a line), or not whole. */
  | {
      readonly action: 'wait';
      readonly reason: string | undefined;
      readonly recheckMs: number;
      /** Still, and these are missing: the next change is worth a look. */
      readonly missing?: readonly Missing[];
    }
  /** Still: read it and ask again with the verdict. */
  | { readonly action: 'examine' }
  | { readonly action: 'ignore'; readonly reason: string }
  | { readonly action: 'take'; readonly tolerateAbsent: boolean };

interface Track {
  signature: string;
  /** On the monotonic clock: since when the signature has been the same. */
  sinceMs: number;
  verdict: Verdict | undefined;
}

export interface Times {
  /** The filesystem's own clock. */
  readonly filesystemMs: number;
  /** A clock that is never set. */
  readonly monotonicMs: number;
}

export class Settler {
  readonly #tracks = new Map<string, Track>();

  constructor(readonly settings: SettleSettings) {}

  /** What to do about a drop that was just looked at. */
  decide(seen: Observation, times: Times): Decision {
    const track = this.#track(seen, times.monotonicMs);
    const { quietMs, timeoutMs } = this.settings;
    const sameForMs = times.monotonicMs - track.sinceMs;
    const timedOut = sameForMs >= timeoutMs;
    if (!seen.isMarked) return { action: 'wait', reason: 'its marker file', recheckMs: quietMs };
    // A tool that died leaves its temporary files behind: one day they count no more.
    if (seen.busy !== undefined && !timedOut) {
      return {
        action: 'wait',
        reason: `${seen.busy} shows that it is being written`,
        recheckMs: quietMs,
      };
    }
    // The change times tell at once; what they cannot tell (a clock that was set), watching does.
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
    // Publishing it finds the same things missing, and rejects it with the list.
    if (timedOut && seen.isCertain) return { action: 'take', tolerateAbsent: true };
    const recheckMs = Math.max(timedOut ? this.settings.timeoutMs : leftMs, 1);
    const { missing } = verdict;
    return { action: 'wait', reason: describeMissing(missing), recheckMs, missing };
  }

  /** Remembers what reading the drop found, for as long as it stays the same. */
  conclude(path: string, verdict: Verdict): void {
    const track = this.#tracks.get(path);
    if (track) track.verdict = verdict;
  }

  /** Since when a drop has looked as it does (monotonic). */
  sinceOf(path: string): number | undefined {
    return this.#tracks.get(path)?.sinceMs;
  }

  /** A drop that was taken and given back goes on waiting where it was, with what was found. */
  resume(path: string, signature: string, sinceMs: number, verdict: Verdict): void {
    this.#tracks.set(path, { signature, sinceMs, verdict });
  }

  /** A thin drop waits for what its repository serves, which has changed. */
  forgetVerdicts(): void {
    for (const track of this.#tracks.values()) {
      const { verdict } = track;
      const isThin = verdict?.kind === 'incomplete' && verdict.missing.some(({ digest }) => digest);
      if (isThin) track.verdict = undefined;
    }
  }

  /** Drops that are gone need not be remembered. @returns how many are left */
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

/** "2 things: sha256:… (of sha256:…), …" */
export function describeMissing(missing: readonly Missing[]): string {
  const listed = missing
    .slice(0, LISTED_MAX)
    .map(({ digest, path, by, platform }) =>
      digest ? `${platform ? `${platform} ` : ''}${digest} (of ${by})` : `${path} (of ${by})`,
    );
  const rest = missing.length - listed.length;
  return `missing: ${listed.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

/** What is not there in full, where only that is known. */
export function incomplete(path: string): Verdict {
  const missing = { digest: '', path, by: 'the drop', tolerable: false, platform: undefined };
  return { kind: 'incomplete', missing: [missing] };
}
