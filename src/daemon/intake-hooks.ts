/** What the intake hands on: drops that were taken, and drops that never can be. */
import type { DropdockError } from '../errors.js';
import type { Claim } from '../inbox/paths.js';
import type { Observation } from '../inbox/scan.js';
import type { SettleSettings } from '../inbox/settle.js';
import type { Settings } from '../settings/schema.js';
import type { ClaimedDrop } from './publisher.js';

export interface IntakeHooks {
  readonly onClaimed: (drop: ClaimedDrop) => void;
  /** A drop that never can be published: it is claimed and rejected. */
  readonly onRefused: (claim: Claim, name: string, error: DropdockError) => Promise<void>;
  readonly onBug: (error: unknown) => void;
}

/** What is known of a drop that has been claimed. */
export interface TakenDrop {
  readonly path: string;
  readonly kind: Observation['kind'];
  readonly tolerateAbsent: boolean;
  readonly look?: ClaimedDrop['look'];
}

/** Read anew each time: a reload may have changed them. */
export function settleSettings({ settle }: Settings): SettleSettings {
  return {
    get quietMs() {
      return settle.quiet;
    },
    get timeoutMs() {
      return settle.timeout;
    },
  };
}
