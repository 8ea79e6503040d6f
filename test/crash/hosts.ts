/**
 * Daemons that share only a tree, as on separate hosts: they do not see each other's kernel locks, their
 * clocks are hours apart, and the filesystem sometimes fails like a network filesystem.
 */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DaemonProcess } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { tempDir } from '../support/temp-dir.js';
import { type Always, alwaysEnvironment, interferenceEnvironment } from './interference.js';

export const SHARED = { hosts: 4, staleMs: 2000 };
const PAUSE_MS = 2600;
const HOUR_MS = 3_600_000;
/** How wrong each host's clock is. */
const AHEAD_MS = [0, 5 * HOUR_MS, -3 * HOUR_MS, HOUR_MS / 60];
/** Of a million calls. */
const CHANCES: NonNullable<Always['chances']> = { ESTALE: 300, EIO: 100, 'a lost answer': 10_000 };

const YAML = `lock: {kernel: false, stale: ${SHARED.staleMs}ms, wait: 5s}
inbox: {watch: false, scan: 200ms}
settle: {quiet: 50ms, timeout: 20s}
retry: {first: 50ms, most: 500ms}
retention: {keep: 1000, grace: 4s, interval: 3s}
repositories: {cleaned: {keep: 1}}
registry: {listen: null}
`;

export class Hosts {
  readonly done = { kill: 0, stop: 0, restart: 0 };
  /** What those said that ended by themselves. */
  readonly ended: string[] = [];
  readonly #daemons: (DaemonProcess | undefined)[] = [];
  readonly #aside = tempDir();
  readonly #library: NodeJS.ProcessEnv;

  constructor(
    readonly root: string,
    readonly random: () => number,
    readonly options: {
      readonly chances?: NonNullable<Always['chances']>;
      readonly isClockRight?: boolean;
    } = {},
  ) {
    const all = interferenceEnvironment(tempDir(), root);
    const isForDaemons = (name: string) => !name.startsWith('DROPDOCK_TEST_');
    this.#library = Object.fromEntries(Object.entries(all).filter(([name]) => isForDaemons(name)));
  }

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: SHARED.hosts }, (_, n) => this.startOne(n)));
  }

  /** As its service manager: again and again, for the tree may be in trouble while it starts. */
  async startOne(n: number): Promise<DaemonProcess> {
    for (;;) {
      try {
        const daemon = await DaemonProcess.start(this.root, {
          yaml: YAML,
          config: `host${n}.yaml`,
          // Other daemons may hold locks that it needs first, and be paused.
          readyMs: 60_000,
          env: this.#environment(n),
        });
        this.#daemons[n] = daemon;
        return daemon;
      } catch (error) {
        if (!(error as Error).message.startsWith('it ended')) throw error;
        this.done.restart++;
      }
    }
  }

  #environment(n: number): NodeJS.ProcessEnv {
    const { chances = CHANCES, isClockRight = false } = this.options;
    const seed = Math.floor(this.random() * 2 ** 31);
    const aheadMs = isClockRight ? 0 : (AHEAD_MS[n] ?? 0);
    const always = { seed, chances, aheadMs };
    return { ...this.#library, ...alwaysEnvironment(always) };
  }

  /** @returns its name */
  drop(repository: string, tag: string): string {
    const name = `${repository}:${tag}`;
    makeLayout(join(this.#aside, name), { layers: ['shared', name] });
    renameSync(join(this.#aside, name), join(this.root, 'inbox', name));
    return name;
  }

  /** Kills some and stops others for a while, until it is told to end. */
  worry(): { end(): Promise<void> } {
    let isExpired = false;
    const work = (async () => {
      while (!isExpired) {
        await delay(300 + this.random() * 700);
        const n = Math.floor(this.random() * SHARED.hosts);
        await (this.random() < 0.5 ? this.#kill(n) : this.#pause(n));
      }
    })();
    return {
      end: async () => {
        isExpired = true;
        await work;
      },
    };
  }

  async #kill(n: number): Promise<void> {
    this.done.kill++;
    if (this.#daemons[n]?.hasEnded) this.#noteEnd(n);
    await this.#daemons[n]?.stop('SIGKILL');
    await this.startOne(n);
  }

  async #pause(n: number): Promise<void> {
    this.done.stop++;
    this.#daemons[n]?.child.kill('SIGSTOP');
    await delay(PAUSE_MS);
    this.#daemons[n]?.child.kill('SIGCONT');
  }

  /** The last to be stopped has found out what it missed. */
  async rest(): Promise<void> {
    await delay(SHARED.staleMs);
    for (const [n, daemon] of this.#daemons.entries()) {
      if (daemon?.hasEnded === false) continue;
      this.#noteEnd(n);
      await this.startOne(n);
    }
  }

  /** None may end by itself: what is wrong with the tree is tried again. */
  #noteEnd(n: number): void {
    const daemon = this.#daemons[n];
    const { exitCode, signalCode } = daemon?.child ?? {};
    this.ended.push(`${exitCode} ${signalCode} ${daemon?.output.slice(-3000)}`);
  }

  output(): string {
    const claimed = readdirSync(join(this.root, 'inbox/.claimed')).join(', ');
    const said = this.#daemons.map((daemon, n) => `host ${n}: ${daemon?.output.slice(-3000)}`);
    return [`claimed: ${claimed}`, ...said].join('\n');
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    for (const daemon of this.#daemons) {
      daemon?.child.kill('SIGCONT');
      await daemon?.stop(signal);
    }
  }
}
