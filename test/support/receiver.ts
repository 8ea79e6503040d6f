/** A receiver of notifications: a real HTTP server that answers as a test configures it. */
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Posted {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: Readonly<Record<string, unknown>>;
}

/** Answers with a status, or does with the response what it likes; `hang` never answers. */
export type Behaviour = (
  posted: Posted,
  nth: number,
) => number | 'hang' | ((to: ServerResponse) => void);

export class Receiver {
  readonly posted: Posted[] = [];

  private constructor(readonly server: Server) {}

  static async open(behave: Behaviour = () => 200): Promise<Receiver> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks);
        const { method, url: path, headers } = request;
        const posted = { method, path, headers, body, json: JSON.parse(String(body)) };
        receiver.posted.push(posted);
        const how = behave(posted, receiver.posted.length);
        if (typeof how === 'function') how(response);
        else if (how !== 'hang') response.writeHead(how).end('thank you\n');
      });
    });
    const receiver = new Receiver(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }
}
