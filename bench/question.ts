/** The types of the benchmarks: a question, its measurements and its goals. */
import { figure, median } from './statistics.js';

export interface Measured {
  readonly name: string;
  /** One value per round. */
  readonly samples: readonly number[];
}

export interface Peer extends Measured {
  /** What this method does not do. */
  readonly without?: string;
}

export interface Goal {
  readonly text: string;
  readonly value: string;
  readonly reached: boolean;
}

export interface Row {
  readonly title: string;
  readonly unit: 's' | 'ms' | 'per s' | 'MiB/s' | 'MiB' | '%';
  readonly ours: Measured;
  readonly peers: readonly Peer[];
  readonly goals: readonly Goal[];
  /** CPU time of the daemon, or another remark. */
  readonly spent?: string;
}

export interface Plot {
  /** File name below docs/images/. */
  readonly file: string;
  readonly alt: string;
  readonly svg: string;
}

export interface Answer {
  readonly rows: readonly Row[];
  readonly plots?: readonly Plot[];
  /** Sentences below the table. */
  readonly notes?: readonly string[];
}

export interface Context {
  /** A directory of this run, removed at its end. */
  readonly directory: string;
  /** The program to measure: `dist/main.js`, of this or another build. */
  readonly main: string;
  /** A short run with smaller sizes, for development. Its results are not written. */
  readonly quick: boolean;
  readonly rounds: number;
  /**
   * Counts the system calls of the daemon (`strace -c`) or samples its stacks (`perf`); both slow it down.
   */
  readonly profile: 'calls' | 'stacks' | undefined;
  say(text: string): void;
  /** Saves the counted system calls; the last count is kept. */
  counted(calls: string): void;
  /** Saves the samples of all measurements, as input for `readStacks`. */
  sampled(stacks: string): void;
}

export interface Question {
  readonly name: string;
  readonly asks: string;
  readonly rounds: number;
  run(context: Context): Promise<Answer>;
}

export interface Side {
  readonly name: string;
  /** @returns the time or amount in the unit of the row */
  run(round: number): Promise<number>;
}

/**
 * Alternates between peer and dropdock, so that disturbances of the machine affect both. The first round
 * warms caches and is not counted.
 */
export async function interleave<Name extends string>(
  context: Context,
  sides: Readonly<Record<Name, (round: number) => Promise<number>>>,
  { warm = true }: { warm?: boolean } = {},
): Promise<Record<Name, number[]>> {
  const names = Object.keys(sides) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]]));
  for (let round = warm ? 0 : 1; round <= context.rounds; round++) {
    for (const name of names) {
      const value = await sides[name](round);
      if (round > 0) samples[name]?.push(value);
      context.say(`${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${figure(value)}`);
    }
  }
  return samples as Record<Name, number[]>;
}

/** dropdock takes at most `factor` times as long as the peer. */
export function atMost(factor: number, ours: Measured, peer: Measured): Goal {
  const ratio = median(ours.samples) / median(peer.samples);
  const text = `at most ${factor} × ${peer.name}`;
  return { text, value: `${figure(ratio)} ×`, reached: ratio <= factor };
}

/** The peer takes at least `factor` times as long as dropdock. */
export function faster(factor: number, ours: Measured, peer: Measured): Goal {
  const ratio = median(peer.samples) / median(ours.samples);
  const text = `at least ${factor} times faster than ${peer.name}`;
  return { text, value: `${figure(ratio)} ×`, reached: ratio >= factor };
}

/** For rates: dropdock achieves at least `factor` times the rate of the peer. */
export function ahead(factor: number, ours: Measured, peer: Measured): Goal {
  const ratio = median(ours.samples) / median(peer.samples);
  const text = `at least ${factor} × ${peer.name}`;
  return { text, value: `${figure(ratio)} ×`, reached: ratio >= factor };
}

export function below(limit: number, unit: string, value: number): Goal {
  return {
    text: `under ${limit} ${unit}`,
    value: `${figure(value)} ${unit}`,
    reached: value < limit,
  };
}
