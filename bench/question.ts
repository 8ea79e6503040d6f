/** The words of the bench: a question, what was measured for it, and what it was to reach. */
import { figure, median } from './statistics.js';

export interface Measured {
  readonly name: string;
  /** One for each round. */
  readonly samples: readonly number[];
}

export interface Peer extends Measured {
  /** What this way of doing it leaves out. */
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
  /** What the daemon spent, or another remark. */
  readonly spent?: string;
}

export interface Plot {
  /** Name of the file below docs/images/. */
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
  /** A directory of this run's own; gone afterwards. */
  readonly directory: string;
  /** The program that is measured: `dist/main.js`, of this or another build. */
  readonly main: string;
  /** A short form with smaller sizes, to develop with. Its figures are not written down. */
  readonly quick: boolean;
  readonly rounds: number;
  /** Count the daemon's system calls (`strace -c`), or sample what it does (`perf`), which slows it down. */
  readonly profile: 'calls' | 'stacks' | undefined;
  say(text: string): void;
  /** Keeps the system calls that were counted; the last count stays. */
  counted(calls: string): void;
  /** Keeps what was sampled, as `readStacks` reads it: of all measurements. */
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
  /** @returns what it took, or made, in the row's unit */
  run(round: number): Promise<number>;
}

/**
 * Peer, ours, peer, ours …: whatever the machine does meanwhile, it does to both. The first round
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

/** Ours takes at most so many times what the other takes. */
export function atMost(factor: number, ours: Measured, peer: Measured): Goal {
  const ratio = median(ours.samples) / median(peer.samples);
  const text = `at most ${factor} × ${peer.name}`;
  return { text, value: `${figure(ratio)} ×`, reached: ratio <= factor };
}

/** The other takes at least so many times what ours takes. */
export function faster(factor: number, ours: Measured, peer: Measured): Goal {
  const ratio = median(peer.samples) / median(ours.samples);
  const text = `at least ${factor} times faster than ${peer.name}`;
  return { text, value: `${figure(ratio)} ×`, reached: ratio >= factor };
}

/** Of rates: ours makes at least so many times what the other makes. */
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
