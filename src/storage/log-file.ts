/**
 * A log file that may be renamed, deleted, full or hang at any time. Writing never waits and never fails:
 * lines that cannot be written go to `fallback`.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { crash } from '../crash.js';

/** Limits memory when the disk hangs. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;

export interface LogFileOptions {
  readonly path: string;
  /** Gets the lines that could not be written. */
  readonly fallback: (text: string) => void;
  /** Called when the file stops working (with the error) and when it works again (without). */
  readonly onChange: (error: Error | undefined) => void;
}

export class LogFile extends Writable {
  #file: FileHandle | undefined;
  #isStale = true;
  #isFailing = false;

  constructor(readonly options: LogFileOptions) {
    super({ decodeStrings: false });
    this.reopen();
  }

  override write(line: string): boolean {
    const isTaken = this.writableLength <= WAITING_BYTES_MAX && !this.writableEnded;
    if (isTaken) return super.write(line);
    this.options.fallback(line);
    return false;
  }

  /** Opens the path again, which is a new file after logrotate renamed the old one. */
  reopen(): void {
    this.#isStale = true;
    // Nothing to write, but the file is opened first.
    if (!this.writableEnded) super.write('');
  }

  override _writev(chunks: readonly { readonly chunk: string }[], done: () => void): void {
    this.#append(chunks.map(({ chunk }) => chunk).join('')).then(() => done(), crash);
  }

  override _final(done: () => void): void {
    // Errors on close do not matter: nothing is left to write.
    const end = () => done();
    if (this.#file) this.#file.close().then(end, end);
    else end();
  }

  async #append(text: string): Promise<void> {
    try {
      await this.#ensureOpen();
      if (text === '') return;
      await this.#file?.appendFile(text);
      this.#changed(undefined);
    } catch (error) {
      // A part may already be in the file. Writing it twice is better than losing it.
      if (text !== '') this.options.fallback(text);
      this.#changed(error as Error);
    }
  }

  async #ensureOpen(): Promise<void> {
    if (!this.#isStale) return;
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

  #changed(error: Error | undefined): void {
    if (this.#isFailing === (error !== undefined)) return;
    this.#isFailing = error !== undefined;
    // While the log closes, the error cannot be logged.
    if (!this.writableEnded) this.options.onChange(error);
  }
}
