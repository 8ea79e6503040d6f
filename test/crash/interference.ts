/** Disturbs the system calls of a process: builds interfere.c and configures it. */
import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownEnvironment } from '../support/daemon-process.js';

const SOURCE = fileURLToPath(new URL('../../test/crash/interfere.c', import.meta.url));

/** Classes of calls, as in interfere.c. */
const CHANGES = 1;
const LOOKS = 2;
const BY_NAME = 4;
const OPENS = 8;
const MOVES_BYTES = 16;
const NAMES = 32;
const KILL = -1;
const HALF = -2;
const LOST = -3;

const { EIO, ENOSPC, EACCES, EMFILE, EROFS, ESTALE, EINTR } = constants.errno;

/** What may happen to a call, and to which. A kill before a call that only looks is one before the next. */
export const WEATHER = {
  EIO: { which: CHANGES | LOOKS, how: EIO },
  ENOSPC: { which: CHANGES, how: ENOSPC },
  EACCES: { which: BY_NAME, how: EACCES },
  EMFILE: { which: OPENS, how: EMFILE },
  EROFS: { which: CHANGES, how: EROFS },
  ESTALE: { which: CHANGES | LOOKS, how: ESTALE },
  EINTR: { which: CHANGES | LOOKS, how: EINTR },
  'a short transfer': { which: MOVES_BYTES, how: HALF },
  'a lost answer': { which: NAMES, how: LOST },
  'a kill': { which: CHANGES, how: KILL },
} as const;
export type Weather = keyof typeof WEATHER;

/** What a process meets as long as it lives. */
export interface Always {
  readonly seed?: number;
  /** How many of a million calls meet which weather. */
  readonly chances?: Partial<Record<Weather, number>>;
  /** Its clock is wrong by so much (whole seconds). */
  readonly aheadMs?: number;
}

/** Builds it. @returns what a process must find in its environment; calls below `place` count */
export function interferenceEnvironment(
  directory: string,
  place: string,
  always: Always = {},
): NodeJS.ProcessEnv {
  const library = join(directory, 'interfere.so');
  execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-Wall', '-o', library, SOURCE, '-ldl']);
  return {
    ...ownEnvironment(),
    LD_PRELOAD: library,
    INTERFERE_BELOW: place,
    UV_THREADPOOL_SIZE: '1',
    UV_USE_IO_URING: '0',
    ...alwaysEnvironment(always),
  };
}

/** The part that says what a process meets as long as it lives. */
export function alwaysEnvironment({
  seed = 0,
  chances = {},
  aheadMs = 0,
}: Always): NodeJS.ProcessEnv {
  const rules = Object.entries(chances).map(([name, ofAMillion]) => {
    const { which, how } = WEATHER[name as Weather];
    return `${which}/${how}/${ofAMillion}`;
  });
  return {
    INTERFERE_RANDOM: [seed, ...rules].join(','),
    INTERFERE_CLOCK_MS: String(aheadMs),
  };
}

const tell = (what: string) => readlinkSync(`/@interfere/${what}`);

/** For the disturbed process itself. */
export const interference = {
  /** From the k-th call on, so many calls. */
  begin(weather: Weather, k: number, calls = 1): void {
    const { which, how } = WEATHER[weather];
    tell(`arm/${which}/${how}/${k}/${calls}`);
  },
  end(): void {
    tell('off');
  },
  unseen<T>(look: () => T): T {
    tell('off');
    try {
      return look();
    } finally {
      tell('on');
    }
  },
  /** The name of the first call that was disturbed; undefined when it did not come to that. */
  hit(): string | undefined {
    const [, name = '-'] = tell('count').split(' ');
    return name === '-' ? undefined : name;
  },
};
