/**
 * A file that lines are appended to, and that may be renamed, deleted, full or hung at any moment.
 * Whoever writes never waits for it and never fails by it: what it cannot take goes to the way round.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { crash } from '../crash.js';

/** A disk that hangs must not fill the memory instead. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
const CLOSE_MS_MAX = 1000;

export interface LogFileOptions {
  readonly path: string;
  /** Takes the lines that the file does not. */
  readonly wayRound: (text: string) => void;
  /** Once for each time it stops working; undefined: it works again. */
  readonly onChange: (error: Error | undefined) => void;
}

export class LogFile {
  #file: FileHandle | undefined;
  #isStale = true;
  #isFailing = false;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #working: Promise<void> | undefined;

  constructor(readonly options: LogFileOptions) {
    this.reopen();
  }

  /** @param line with its line end */
  write(line: string): void {
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.options.wayRound(line);
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#work();
  }

  /** Goes on in a file of that name, a new one where it was renamed (logrotate). */
  reopen(): void {
    this.#isStale = true;
    this.#work();
  }

  /** Waits until all is in the file or has gone the way round, but no longer than a moment. */
  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS_MAX);
    });
    await Promise.race([this.#end(), late]);
    clearTimeout(timer);
  }

  async #end(): Promise<void> {
    while (this.#working !== undefined) await this.#working;
    await this.#file?.close().catch(() => {});
    this.#file = undefined;
    this.#isStale = true;
  }

  #work(): void {
    this.#working ??= this.#drain()
      .finally(() => {
        this.#working = undefined;
        if (this.#waiting.length > 0) this.#work();
      })
      .catch(crash);
  }

  async #drain(): Promise<void> {
    do {
      const text = this.#waiting.join('');
      this.#waiting = [];
      try {
        await this.#ensureOpen();
        if (text !== '') await this.#file?.appendFile(text);
        if (text !== '') this.#tell(undefined);
      } catch (error) {
        // A part of it may be there already: twice is better than never.
        if (text !== '') this.options.wayRound(text);
        this.#tell(error as Error);
      }
      this.#waitingBytes -= text.length;
    } while (this.#waiting.length > 0 || this.#isStaleAndReachable());
  }

  /** One that could not be opened is tried again with the next line, not at once. */
  #isStaleAndReachable(): boolean {
    return this.#isStale && !this.#isFailing;
  }

  async #ensureOpen(): Promise<void> {
    if (!this.#isStale && this.#file) return;
    this.#isStale = false;
    try {
      const next = await open(this.options.path, 'a', 0o640);
      await this.#file?.close().catch(() => {});
      this.#file = next;
    } catch (error) {
      this.#isStale = true;
      throw error;
    }
  }

  #tell(error: Error | undefined): void {
    if (this.#isFailing === (error !== undefined)) return;
    this.#isFailing = error !== undefined;
    this.options.onChange(error);
  }
}
