/**
 * Server-sent events: whoever looks at the inbox is sent it again when it changes. A view is rendered
 * once for all who may see the same. A slow reader misses what came in between, and gets the newest.
 */
import type { ServerResponse } from 'node:http';
import type { Answer } from '../registry/answer.js';

/** One view for one kind of visitor. @returns undefined when he may not look any more */
export type Render = () => Promise<Rendered | undefined>;

export interface Rendered {
  readonly text: string;
  /** The same without what changes by itself, as ages do. */
  readonly substance: string;
}

export interface LiveOptions {
  /** Streams at one time; more are refused. */
  readonly streamsMax: number;
  /** What is sent so often, when there is nothing else, keeps the connection. */
  readonly heartbeatMs: number;
  /** How long changes are collected. */
  readonly collectMs: number;
  /** Something moves that nobody tells of: it is looked at again after this. */
  readonly movingMs: number;
  readonly isMoving: () => boolean;
  readonly onError: (error: Error) => void;
}

interface Stream {
  readonly key: string;
  readonly render: Render;
  readonly response: ServerResponse;
  /** What was sent last. */
  last: Rendered | undefined;
  sentMs: number;
}

/** Of the time it takes to render for all, the pause until the next is ten times as much. */
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
   * @param key the same for all who see the same
   * @returns undefined when there are too many
   */
  open(key: string, render: Render, headers: Answer['headers']): Answer | undefined {
    if (this.#closed || this.#streams.size >= this.options.streamsMax) return undefined;
    const live = (response: ServerResponse) =>
      this.#follow({ key, render, response, last: undefined, sentMs: 0 });
    return {
      status: 200,
      headers: {
        ...headers,
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-store',
        // nginx would collect what is sent.
        'X-Accel-Buffering': 'no',
      },
      body: { live },
    };
  }

  /** Something has changed. */
  changed(): void {
    this.#pushWithin(this.options.collectMs);
  }

  /** Ends all streams, and takes no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const { response } of this.#streams) response.end();
  }

  /** @returns when the client has gone or the stream was ended */
  async #follow(stream: Stream): Promise<void> {
    const { response } = stream;
    // Those that were let in while others were: the last ones are one too many.
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
      const texts = new Map<string, Promise<Rendered | undefined>>();
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

function send(stream: Stream, rendered: Rendered | undefined, heartbeatMs: number): void {
  const { response } = stream;
  if (rendered === undefined) {
    response.end();
    return;
  }
  const { text, substance } = rendered;
  // Ages grow for everybody; they are sent with the heartbeat, and tell nothing of what he may not see.
  const isNew = substance !== stream.last?.substance;
  if (!isNew && performance.now() - stream.sentMs < heartbeatMs) return;
  // He has not read what was sent before: the next look sends him what is true then.
  if (response.writableNeedDrain || response.writableEnded) return;
  if (text === stream.last?.text) response.write(':\n\n');
  else response.write(`event: inbox\ndata: ${text.replace(/\r\n?|\n/g, '\ndata: ')}\n\n`);
  stream.last = rendered;
  stream.sentMs = performance.now();
}
