/**
 * Notifies systemd (sd_notify(3)). Node has no Unix datagram sockets, so this runs systemd-notify(1), and the
 * unit needs NotifyAccess=all. Without systemd it does nothing.
 */
import { spawn } from 'node:child_process';

export interface ManagerAddress {
  /** NOTIFY_SOCKET; undefined without systemd. */
  readonly socket: string | undefined;
  /** systemd kills the process after this time without a notification; undefined without a watchdog. */
  readonly watchdogMs: number | undefined;
}

/**
 * Reads the variables of sd_notify(3) and sd_watchdog_enabled(3). Deletes them from the environment, so that
 * child processes do not notify systemd.
 */
export function managerAddress(environment: NodeJS.ProcessEnv): ManagerAddress {
  const { NOTIFY_SOCKET: socket, WATCHDOG_PID: pid, WATCHDOG_USEC: usec } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC']) delete environment[name];
  const isOurs = pid === undefined || pid === String(process.pid);
  return { socket, watchdogMs: isOurs && Number(usec) > 0 ? Number(usec) / 1000 : undefined };
}

/** systemd-notify waits until systemd has read the message; otherwise systemd could not tell its sender. */
const TELL_MS_MAX = 10_000;

export class ServiceManager {
  readonly #address: ManagerAddress;
  readonly #onTrouble: (error: Error) => void;
  readonly #tool: string;
  #told: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  /** @param onTrouble called at the first failed notification: systemd may then kill the silent process */
  constructor(address: ManagerAddress, onTrouble: (error: Error) => void, tool = 'systemd-notify') {
    this.#address = address;
    this.#tool = tool;
    let isKnown = false;
    this.#onTrouble = (error) => {
      if (!isKnown) onTrouble(error);
      isKnown = true;
    };
  }

  /** The start or a reload is finished. @param status one short line for `systemctl status` */
  ready(status: string): void {
    this.#tell('READY=1', `STATUS=${status}`);
  }

  /** Changes the line for `systemctl status`. */
  status(status: string): void {
    this.#tell(`STATUS=${status}`);
  }

  reloading(): void {
    this.#tell('RELOADING=1');
  }

  /** @param status what the process still waits for */
  stopping(status: string): void {
    this.#tell('STOPPING=1', `STATUS=${status}`);
  }

  /** Sends watchdog notifications at twice the required rate, while `isAlive` returns true. */
  guard(isAlive: () => boolean): void {
    const { watchdogMs } = this.#address;
    if (watchdogMs === undefined) return;
    const tell = () => {
      if (isAlive()) this.#tell('WATCHDOG=1');
    };
    this.#timer = setInterval(tell, watchdogMs / 2).unref();
    tell();
  }

  /** Resolves when all notifications are sent. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#told;
  }

  /** Sends notifications in order: READY=1 must not overtake RELOADING=1. */
  #tell(...lines: readonly string[]): void {
    const { socket } = this.#address;
    if (!socket) return;
    // spawn() throws some errors (E2BIG, ENOMEM); they must not stop later notifications.
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
        if (code !== 0) this.#onTrouble(new Error(`systemd-notify failed with exit code ${code}`));
        resolve();
      });
    });
  }
}

/** A status may quote any text; a newline would start another sd_notify variable. */
function toOneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
