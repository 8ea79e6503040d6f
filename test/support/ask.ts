/** HTTP requests sent literally: no path normalisation, no added headers, no redirects followed. */
import { type Agent, type IncomingHttpHeaders, request as overTcp } from 'node:http';
import { request as overTls } from 'node:https';

export interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly agent?: Agent;
  readonly body?: string | Buffer;
  /** For https: the certificate that is trusted. */
  readonly ca?: Buffer;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly json: unknown;
  /** The code of the first error in the body. */
  readonly code: string | undefined;
}

/**
 * @param base `http://host:port`, `https://host:port`, or the path of a socket
 * @throws when the connection ends before the answer does
 */
export function ask(base: string, path: string, asked: Asked = {}): Promise<Reply> {
  const { method = 'GET', headers = {}, agent, body, ca } = asked;
  const where = base.startsWith('/') ? { socketPath: base } : placeOf(base);
  const options = { ...where, path, method, headers: { ...headers } as never, agent, ca };
  return new Promise((resolve, reject) => {
    const request = (base.startsWith('https:') ? overTls : overTcp)(options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode = 0, headers: got } = response;
        resolve(toReply(statusCode, got, Buffer.concat(chunks)));
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

function placeOf(base: string): { host: string; port: string } {
  const { hostname, port } = new URL(base);
  return { host: hostname.replace(/^\[|\]$/g, ''), port };
}

function toReply(status: number, headers: IncomingHttpHeaders, body: Buffer): Reply {
  const isJson = /json/.test(headers['content-type'] ?? '') && body.length > 0;
  const json: unknown = isJson ? JSON.parse(body.toString('utf8')) : undefined;
  const { errors } = (json ?? {}) as { errors?: { code: string }[] };
  return { status, headers, body, json, code: errors?.[0]?.code };
}

/** An Authorization header. */
export function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` };
}

/** Follows `Link: rel="next"` to its end. @throws after so many pages that it has none */
export async function followLinks(base: string, path: string, asked: Asked = {}): Promise<Reply[]> {
  const replies: Reply[] = [];
  for (let next: string | undefined = path; next !== undefined; ) {
    if (replies.length > 5000) throw new Error('the links have no end');
    const reply: Reply = await ask(base, next, asked);
    replies.push(reply);
    const link = /^<([^>]+)>; rel="next"$/.exec(String(reply.headers.link ?? ''))?.[1];
    if (reply.headers.link !== undefined && link === undefined) throw new Error('a malformed Link');
    next = link;
  }
  return replies;
}
