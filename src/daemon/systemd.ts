/**
 * What is told to systemd: sd_notify(3). Node has no datagram sockets of the Unix kind, so
 * systemd-notify(1) says it for us; the unit needs NotifyAccess=all. Without systemd nothing is told.
 */
import { spawn } from 'node:child_process';

export interface ManagerAddress {
  /** NOTIFY_SOCKET; undefined where nobody listens. */
  readonly socket: string | undefined;
  /** A process that is silent for so long is killed; undefined where nobody watches. */
  readonly watchdogMs: number | undefined;
}

/**
 * sd_notify(3), sd_watchdog_enabled(3). What we start is not to speak for us, so the variables are
 * taken out of the environment.
 */
export function managerAddress(environment: NodeJS.ProcessEnv): ManagerAddress {
  const { NOTIFY_SOCKET: socket, WATCHDOG_PID: pid, WATCHDOG_USEC: usec } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC']) delete environment[name];
  const isOurs = pid === undefined || pid === String(process.pid);
  return { socket, watchdogMs: isOurs && Number(usec) > 0 ? Number(usec) / 1000 : undefined };
}

/** It waits until systemd has read the message, or could not be told by whom it is. */
const TELL_MS_MAX = 10_000;

export class ServiceManager {
  readonly #address: ManagerAddress;
  readonly #onTrouble: (error: Error) => void;
  readonly #tool: string;
  #told: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  /** @param onTrouble called once when systemd cannot be told: it may end the process for silence */
  constructor(address: ManagerAddress, onTrouble: (error: Error) => void, tool = 'systemd-notify') {
    this.#address = address;
    this.#tool = tool;
    let isKnown = false;
    this.#onTrouble = (error) => {
      if (!isKnown) onTrouble(error);
      isKnown = true;
    };
  }

  /** It works, or works again after a reload. @param status one short line for `systemctl status` */
  ready(status: string): void {
    this.#tell('READY=1', `STATUS=${status}`);
  }

  reloading(): void {
    this.#tell('RELOADING=1');
  }

  /** @param status what it still waits for */
  stopping(status: string): void {
    this.#tell('STOPPING=1', `STATUS=${status}`);
  }

  /** From now on a sign of life at twice the rate that is asked for, but only while there is life. */
  guard(isAlive: () => boolean): void {
    const { watchdogMs } = this.#address;
    if (watchdogMs === undefined) return;
    const tell = () => {
      if (isAlive()) this.#tell('WATCHDOG=1');
    };
    this.#timer = setInterval(tell, watchdogMs / 2).unref();
    tell();
  }

  /** Resolves when all that was to be told is told. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#told;
  }

  /** One after the other: READY=1 must not overtake RELOADING=1. */
  #tell(...lines: readonly string[]): void {
    const { socket } = this.#address;
    if (!socket) return;
    // Some failures to start a program are thrown (E2BIG, ENOMEM); the next message is told all the same.
    this.#told = this.#told.then(() => this.#run(socket, lines)).catch(this.#onTrouble);
  }

  #run(socket: string, lines: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const child = spawn(this.#tool, lines.map(toOneLine), {
        env: { NOTIFY_SOCKET: socket },
        stdio: 'ignore',
        timeout: TELL_MS_MAX,
      });
      child.on('error', (error) => {
        this.#onTrouble(error);
        resolve();
      });
      child.on('exit', (code) => {
        if (code !== 0) this.#onTrouble(new Error(`systemd-notify ended with ${code}`));
        resolve();
      });
    });
  }
}

/** What is quoted in a status may be anything; a line end would begin another message. */
function toOneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
