/**
 * Server-sent events: open pages get the inbox and the repositories again when they change. A view is rendered
 * once for all visitors that may see the same. A slow client skips versions and gets the newest one.
 */
import type { ServerResponse } from 'node:http';
import type { Answer } from '../registry/answer.js';

/** Renders a view for one kind of visitor. @returns undefined if the visitor may no longer see it */
export type Render = () => Promise<readonly Rendered[] | undefined>;

/** One part of a page; each is sent on its own, when it has changed. */
export interface Rendered {
  /** The name of the event. */
  readonly part: string;
  readonly text: string;
  /** The text without ages, which change by themselves. */
  readonly substance: string;
}

export interface LiveOptions {
  /** Maximum number of streams; more are refused. */
  readonly streamsMax: number;
  /** Interval of sends that keep an idle connection open (ms). */
  readonly heartbeatMs: number;
  /** How long changes are collected before a send (ms). */
  readonly collectMs: number;
  /** Interval of sends while `isMoving` is true: progress changes without events (ms). */
  readonly movingMs: number;
  readonly isMoving: () => boolean;
  readonly onError: (error: Error) => void;
}

interface Stream {
  readonly key: string;
  readonly render: Render;
  readonly response: ServerResponse;
  /** The last version sent of each part. */
  readonly last: Map<string, Rendered & { readonly sentMs: number }>;
}

/** The pause after rendering for all streams is this many times as long as the rendering. */
const COST_SHARE = 10;

export class Live {
  readonly #streams = new Set<Stream>();
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #pushing = false;
  #pauseMs = 0;
  #closed = false;

  constructor(readonly options: LiveOptions) {}

  get streams(): number {
    return this.#streams.size;
  }

  /**
   * @param key equal for visitors that see the same
   * @returns undefined if too many streams are open
   */
  open(key: string, render: Render, headers: Answer['headers']): Answer | undefined {
    if (this.#closed || this.#streams.size >= this.options.streamsMax) return undefined;
    const live = (response: ServerResponse) =>
      this.#follow({ key, render, response, last: new Map() });
    return {
      status: 200,
      headers: {
        ...headers,
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-store',
        // Otherwise nginx buffers the events.
        'X-Accel-Buffering': 'no',
      },
      body: { live },
    };
  }

  /** Call it when the inbox or a repository has changed. */
  changed(): void {
    this.#pushWithin(this.options.collectMs);
  }

  /** Ends all streams and opens no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const { response } of this.#streams) response.end();
  }

  /** Resolves when the client has disconnected or the stream was ended. */
  async #follow(stream: Stream): Promise<void> {
    const { response } = stream;
    // Several requests may have passed the limit in open() at the same time.
    if (this.#closed || this.#streams.size >= this.options.streamsMax) {
      response.end();
      return;
    }
    this.#streams.add(stream);
    const gone = new Promise<void>((resolve) => response.once('close', resolve));
    response.on('error', () => {});
    response.write('retry: 3000\n\n');
    this.#pushWithin(0);
    await gone;
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearTimeout(this.#timer);
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  #pushWithin(delayMs: number): void {
    if (this.#closed || this.#streams.size === 0) return;
    const waitMs = Math.max(delayMs, this.#pauseMs);
    const dueMs = performance.now() + waitMs;
    if (dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#push().catch(this.options.onError);
    }, waitMs);
  }

  async #push(): Promise<void> {
    this.#dueMs = Number.POSITIVE_INFINITY;
    if (this.#pushing) return this.#pushWithin(this.options.collectMs);
    this.#pushing = true;
    const began = performance.now();
    try {
      const texts = new Map<string, ReturnType<Render>>();
      for (const stream of this.#streams) {
        const text = texts.get(stream.key) ?? stream.render();
        texts.set(stream.key, text);
        send(stream, await text, this.options.heartbeatMs);
      }
    } catch (error) {
      this.options.onError(error as Error);
    } finally {
      this.#pushing = false;
      this.#pauseMs = Math.min((performance.now() - began) * COST_SHARE, this.options.heartbeatMs);
    }
    const { isMoving, movingMs, heartbeatMs } = this.options;
    this.#pushWithin(isMoving() ? movingMs : heartbeatMs);
  }
}

function send(
  { response, last }: Stream,
  parts: readonly Rendered[] | undefined,
  heartbeatMs: number,
): void {
  if (parts === undefined) {
    response.end();
    return;
  }
  // The client has not read the last version yet; the next push sends the newest one.
  if (response.writableNeedDrain || response.writableEnded) return;
  for (const rendered of parts) {
    const { part, text, substance } = rendered;
    const before = last.get(part);
    // New ages alone are sent only with the heartbeat: otherwise a send would reveal a change of another drop.
    const isNew = substance !== before?.substance;
    const nowMs = performance.now();
    if (!isNew && nowMs - (before?.sentMs ?? 0) < heartbeatMs) continue;
    if (text === before?.text) response.write(':\n\n');
    else response.write(`event: ${part}\ndata: ${text.replace(/\r\n?|\n/g, '\ndata: ')}\n\n`);
    last.set(part, { ...rendered, sentMs: nowMs });
  }
}
