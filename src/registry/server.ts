/**
 * The HTTP server around the endpoint: limits, sending, ending. A client that is slow holds an open
 * file and one piece of it, and nothing a publish waits for; one that goes away frees both at once.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { hasErrno } from '../errors.js';
import { removeDeadSocket } from '../storage/serving.js';
import { type Answer, answerRefusal } from './answer.js';
import type { Certificate } from './certificate.js';
import type { Refusal } from './refusal.js';

/** Where to listen. */
export type Listen =
  /** Without a host: all addresses, of both kinds where the machine has both. */
  | { readonly host?: string; readonly port: number }
  | { readonly path: string }
  /** A socket that systemd has opened. */
  | { readonly fd: number };

export interface ServerOptions {
  readonly answer: (request: IncomingMessage) => Promise<Answer>;
  readonly certificate: Certificate | undefined;
  /** Connections beyond this are closed at once. */
  readonly connections: number;
  /** A connection on which nothing moves for so long is closed. */
  readonly idleMs: number;
  /** For each answer that was sent, or not to its end. */
  readonly onSent: (sent: Sent, request: IncomingMessage) => void;
  /** An answer could not be made: the system's trouble, or a bug. */
  readonly onError: (error: Error, request: IncomingMessage) => void;
}

export interface Sent {
  readonly status: number;
  readonly tookMs: number;
  readonly isWhole: boolean;
  /** Headers and body, as they went to the system. */
  readonly bytes: number;
}

/** Of all headers: podman asks for up to 1,024 ranges of a zstd:chunked layer, 23 KiB, in one request. */
const HEADER_BYTES_MAX = 32 * 1024;
const HEADER_MS_MAX = 10_000;
/** Clients of registries send no bodies here; what has not ended by then is not meant well. */
const REQUEST_MS_MAX = 30_000;

export class RegistryServer {
  readonly #server: Server | TlsServer;
  readonly #options: ServerOptions;
  #isClosing = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    const limits = {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADER_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      connectionsCheckingInterval: 5000,
      keepAliveTimeout: Math.min(options.idleMs, 60_000),
    };
    const handle = (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch((error) => {
        // One request that goes wrong ends its own connection, and nothing else.
        response.destroy();
        options.onError(error as Error, request);
      });
    };
    this.#server = options.certificate
      ? createTlsServer({ ...limits, ...options.certificate, minVersion: 'TLSv1.2' }, handle)
      : createServer(limits, handle);
    this.#server.maxConnections = options.connections;
    this.#server.setTimeout(options.idleMs);
  }

  /** @throws what the system says, EADDRINUSE for one */
  async listen(where: Listen): Promise<void> {
    // Who may connect is told by the directory the socket lies in.
    if ('path' in where) await removeDeadSocket(where.path);
    const options = 'path' in where ? { ...where, readableAll: true, writableAll: true } : where;
    const listening = once(this.#server, 'listening');
    this.#server.listen(options);
    await listening;
    // Later errors (too many open files) end no more than the connection they belong to.
    this.#server.on('error', () => {});
  }

  /** `http://127.0.0.1:5000`, or the path of a socket. */
  get url(): string {
    const address = this.#server.address() as AddressInfo | string | null;
    if (address === null || typeof address === 'string') return address ?? 'closed';
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${this.#options.certificate ? 'https' : 'http'}://${host}:${address.port}`;
  }

  /** New connections get this certificate; those that are open go on. */
  useCertificate(certificate: Certificate): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(certificate);
  }

  /** Takes no new requests and lets those under way end for a while. */
  async close(waitMs: number): Promise<void> {
    this.#isClosing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), waitMs);
    await closed;
    clearTimeout(timer);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Node hands over all that a connection has pipelined; one at a time is answered, or each would
    // hold an open file before its turn.
    if (!(await hasTurn(request, response))) return;
    const began = performance.now();
    const { socket } = request;
    const sentBefore = socket.bytesWritten;
    // A body that nobody asked for is not read: the connection ends with the answer.
    const hasBody = request.headers['content-length'] ?? request.headers['transfer-encoding'];
    if (hasBody !== undefined && hasBody !== '0') response.shouldKeepAlive = false;
    const answer = await this.#answerOrApologise(request);
    const onError = (error: Error) => this.#options.onError(error, request);
    const isWhole = await send(answer, request, response, onError);
    const tookMs = performance.now() - began;
    const bytes = Math.max(0, socket.bytesWritten - sentBefore);
    this.#options.onSent({ status: answer.status, tookMs, isWhole, bytes }, request);
    // Or it would be kept for a next request, and the end would wait for it.
    if (this.#isClosing) request.socket.destroySoon();
  }

  async #answerOrApologise(request: IncomingMessage, isAgain = false): Promise<Answer> {
    try {
      return await this.#options.answer(request);
    } catch (error) {
      // Another host replaced what was being looked up (NFS): looked up anew it is there.
      if (!isAgain && hasErrno(error, 'ESTALE')) return this.#answerOrApologise(request, true);
      this.#options.onError(error as Error, request);
      const isTransient = hasErrno(error, 'EMFILE', 'ENFILE', 'ENOMEM', 'ESTALE');
      const refusal: Refusal = { status: isTransient ? 503 : 500, code: 'UNKNOWN' };
      return answerRefusal(refusal, isTransient ? { 'Retry-After': '1' } : {});
    }
  }
}

/** @returns false when the client went away, or the file could not be read to its end */
async function send(
  { status, headers, body }: Answer,
  request: IncomingMessage,
  response: ServerResponse,
  onError: (error: Error) => void,
): Promise<boolean> {
  const isHead = request.method === 'HEAD';
  try {
    response.writeHead(status, headers);
    if (body === undefined || Buffer.isBuffer(body)) {
      response.end(isHead ? undefined : body);
      return true;
    }
    if ('live' in body) {
      if (isHead) response.end();
      else await body.live(response);
      return true;
    }
    if ('pieces' in body) return await sendAll(body.pieces, body.bytes, request, response);
    if (isHead) {
      await body.file.close();
      response.end();
      return true;
    }
    const length = body.end - body.start + 1;
    return await sendAll(body.file.pieces(body), length, request, response);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!response.destroyed && !CLIENT_LEFT.has(code)) onError(error as Error);
    // The length was promised: what is cut short is seen as such by the client, who asks again.
    response.destroy();
    return false;
  }
}

/** @returns false when there was less than was promised */
async function sendAll(
  pieces: AsyncIterable<Buffer>,
  promised: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const isWhole = (await sendPieces(pieces, response)) === promised;
  // It ended before it was promised to: the next answer must not be taken for the rest of it.
  if (isWhole) response.end();
  else request.socket.destroy();
  return isWhole;
}

/** @returns how many bytes the system has taken */
async function sendPieces(pieces: AsyncIterable<Buffer>, response: ServerResponse) {
  let bytes = 0;
  for await (const piece of pieces) {
    await taken(piece, response);
    bytes += piece.length;
  }
  return bytes;
}

/** Resolves when the system has taken all of it, so that its memory can be used again. */
function taken(piece: Buffer, response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    // Node forgets to call back for what is written while a connection ends.
    const onClose = () => reject(Object.assign(new Error('gone'), { code: 'ECANCELED' }));
    response.once('close', onClose);
    response.write(piece, (error) => {
      response.off('close', onClose);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** What Node says of a client that went away in the middle: nobody's trouble. */
const CLIENT_LEFT = new Set([
  'ERR_STREAM_DESTROYED',
  'ECONNRESET',
  'EPIPE',
  'ECANCELED',
  'ETIMEDOUT',
]);

/** Waits until the answers before this one are sent. @returns false when the client went away */
function hasTurn(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  if (response.socket !== null) return Promise.resolve(true);
  return new Promise((resolve) => {
    response.once('socket', () => resolve(true));
    // Its own event: a connection may have pipelined hundreds, each of which would listen to it.
    request.once('close', () => {
      response.destroy();
      resolve(false);
    });
  });
}
