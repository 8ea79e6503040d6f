/**
 * The HTTP server of the endpoint: limits, sending and shutdown. A slow client holds one open file and one
 * piece of it, and blocks no publish. A client that disconnects frees both at once.
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

export type Listen =
  /** Without a host: all addresses, IPv4 and IPv6 if the machine has both. */
  | { readonly host?: string; readonly port: number }
  | { readonly path: string }
  /** A socket opened by systemd. */
  | { readonly fd: number };

/**
 * Parses the setting of an address to listen on.
 *
 * @param listen `127.0.0.1:5000`, `[::1]:5000`, `:5000` for all addresses, or the path of a Unix socket
 */
export function parseListen(listen: string | null): Listen | undefined {
  if (listen === null) return undefined;
  if (listen.startsWith('/')) return { path: listen };
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const port = Number(listen.slice(colon + 1));
  return host === '' ? { port } : { host, port };
}

export interface ServerOptions {
  readonly answer: (request: IncomingMessage) => Promise<Answer>;
  readonly certificate: Certificate | undefined;
  /** Connections beyond this number are closed at once. */
  readonly connections: number;
  /** A connection without traffic for this long is closed. */
  readonly idleMs: number;
  /** Called after each response, complete or not. */
  readonly onSent: (sent: Sent, request: IncomingMessage) => void;
  /** Called when a response failed: a system error or a bug. */
  readonly onError: (error: Error, request: IncomingMessage) => void;
}

export interface Sent {
  readonly status: number;
  readonly tookMs: number;
  readonly isWhole: boolean;
  /** Headers and body, as written to the socket. */
  readonly bytes: number;
}

/**
 * The limit for all headers: podman requests up to 1,024 ranges of a zstd:chunked layer in one request (23
 * KiB).
 */
const HEADER_BYTES_MAX = 32 * 1024;
const HEADER_MS_MAX = 10_000;
/** Registry clients send no bodies here; a request that takes longer is treated as an attack. */
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
        // A failed request must close its own connection only.
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

  /** @throws the system error, for example EADDRINUSE */
  async listen(where: Listen): Promise<void> {
    // The socket is writable for all users; access is controlled by the directory that contains it.
    if ('path' in where) await removeDeadSocket(where.path);
    const options = 'path' in where ? { ...where, readableAll: true, writableAll: true } : where;
    const listening = once(this.#server, 'listening');
    this.#server.listen(options);
    await listening;
    // Later errors (too many open files) affect only their own connection.
    this.#server.on('error', () => {});
  }

  /** `http://127.0.0.1:5000`, or the path of a socket. */
  get url(): string {
    const address = this.#server.address() as AddressInfo | string | null;
    if (address === null || typeof address === 'string') return address ?? 'closed';
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${this.#options.certificate ? 'https' : 'http'}://${host}:${address.port}`;
  }

  /** Uses this certificate for new connections; open connections continue unchanged. */
  useCertificate(certificate: Certificate): void {
    if ('setSecureContext' in this.#server) this.#server.setSecureContext(certificate);
  }

  /** Accepts no new requests. Running requests have `waitMs` to finish. */
  async close(waitMs: number): Promise<void> {
    this.#isClosing = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), waitMs);
    await closed;
    clearTimeout(timer);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Node passes all pipelined requests of a connection at once. They are answered one at a time, because
    // each would hold an open file while it waits.
    if (!(await hasTurn(request, response))) return;
    const began = performance.now();
    const { socket } = request;
    const sentBefore = socket.bytesWritten;
    // An unexpected body is not read: the connection is closed after the response.
    const hasBody = request.headers['content-length'] ?? request.headers['transfer-encoding'];
    if (hasBody !== undefined && hasBody !== '0') response.shouldKeepAlive = false;
    const answer = await this.#answerOrApologise(request);
    const onError = (error: Error) => this.#options.onError(error, request);
    const isWhole = await send(answer, request, response, onError);
    const tookMs = performance.now() - began;
    const bytes = Math.max(0, socket.bytesWritten - sentBefore);
    this.#options.onSent({ status: answer.status, tookMs, isWhole, bytes }, request);
    // Otherwise the connection stays open for another request, and shutdown has to wait for it.
    if (this.#isClosing) request.socket.destroySoon();
  }

  async #answerOrApologise(request: IncomingMessage, isAgain = false): Promise<Answer> {
    try {
      return await this.#options.answer(request);
    } catch (error) {
      // Another host replaced the file during the lookup (NFS); a second lookup finds the new file.
      if (!isAgain && hasErrno(error, 'ESTALE')) return this.#answerOrApologise(request, true);
      this.#options.onError(error as Error, request);
      const isTransient = hasErrno(error, 'EMFILE', 'ENFILE', 'ENOMEM', 'ESTALE');
      const refusal: Refusal = { status: isTransient ? 503 : 500, code: 'UNKNOWN' };
      return answerRefusal(refusal, isTransient ? { 'Retry-After': '1' } : {});
    }
  }
}

/** @returns false if the client disconnected or the file could not be read completely */
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
    // Content-Length is already sent: the client detects the truncated response and retries.
    response.destroy();
    return false;
  }
}

/** @returns false if the body was shorter than its Content-Length */
async function sendAll(
  pieces: AsyncIterable<Buffer>,
  promised: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const isWhole = (await sendPieces(pieces, response)) === promised;
  // The body is shorter than its Content-Length: close the connection, or the client would read the next
  // response as the rest of this one.
  if (isWhole) response.end();
  else request.socket.destroy();
  return isWhole;
}

/** @returns the number of bytes written to the socket */
async function sendPieces(pieces: AsyncIterable<Buffer>, response: ServerResponse) {
  let bytes = 0;
  for await (const piece of pieces) {
    await taken(piece, response);
    bytes += piece.length;
  }
  return bytes;
}

/** Resolves when the piece is written to the socket, so that its buffer can be reused. */
function taken(piece: Buffer, response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    // Node does not call the write callback if the connection closes during the write.
    const onClose = () =>
      reject(Object.assign(new Error('client disconnected'), { code: 'ECANCELED' }));
    response.once('close', onClose);
    response.write(piece, (error) => {
      response.off('close', onClose);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Node's error codes for a client that disconnected; these are not reported as errors. */
const CLIENT_LEFT = new Set([
  'ERR_STREAM_DESTROYED',
  'ECONNRESET',
  'EPIPE',
  'ECANCELED',
  'ETIMEDOUT',
]);

/**
 * Waits until the previous responses on this connection are sent. @returns false if the client disconnected
 */
function hasTurn(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  if (response.socket !== null) return Promise.resolve(true);
  return new Promise((resolve) => {
    response.once('socket', () => resolve(true));
    // Listen on the request, not on the connection: hundreds of pipelined requests would add a listener each.
    request.once('close', () => {
      response.destroy();
      resolve(false);
    });
  });
}
