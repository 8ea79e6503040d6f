/**
 * Pulls as clients do, over HTTP: a tag, what it leads to, every blob, each checked against its digest.
 * Follows redirects. Every error names the request that failed.
 */
import { sha256 } from './make-image.js';

export const ACCEPT_ALL = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
].join(', ');

export interface Pulled {
  /** What the tag's manifest hashes to; undefined for 404. */
  readonly digest: string | undefined;
  readonly etag: string | null;
  /** The server said that nothing has changed since. */
  readonly notModified: boolean;
  /** When the tag was asked for, and when it was answered; of the clock the caller uses. */
  readonly askedMs: number;
  readonly answeredMs: number;
}

interface Manifest {
  readonly mediaType?: string;
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
  readonly manifests?: readonly { readonly digest: string }[];
}

export interface PullOptions {
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  readonly repository: string;
  readonly tag: string;
  /** Asked with If-None-Match; a 304 is no pull. */
  readonly etag?: string | null;
}

/** @throws for every answer that is not whole, not right, or neither 200, 304 nor (for the tag) 404 */
export async function pull({ url, repository, tag, etag }: PullOptions): Promise<Pulled> {
  const base = `${url}/v2/${repository}`;
  const askedMs = performance.now();
  const response = await get(`${base}/manifests/${tag}`, {
    Accept: ACCEPT_ALL,
    ...(etag && { 'If-None-Match': etag }),
  });
  const answeredMs = performance.now();
  const seen = { etag: response.headers.get('etag'), askedMs, answeredMs };
  const body = Buffer.from(await response.arrayBuffer());
  if (response.status === 404) return { ...seen, digest: undefined, notModified: false };
  if (response.status === 304) return { ...seen, digest: undefined, notModified: true };
  expectOk(response, body);
  const digest = sha256(body);
  const named = response.headers.get('docker-content-digest');
  if (named !== null && named !== digest) throw new Error(`${response.url}: ${named} is ${digest}`);
  await pullParts(base, body, response.headers.get('content-type'));
  return { ...seen, digest, notModified: false };
}

async function pullParts(base: string, body: Buffer, type: string | null): Promise<void> {
  const manifest = JSON.parse(body.toString('utf8')) as Manifest;
  if (manifest.mediaType !== type) throw new Error(`${base}: ${manifest.mediaType} as ${type}`);
  for (const { digest } of manifest.manifests ?? []) {
    const response = await get(`${base}/manifests/${digest}`, { Accept: ACCEPT_ALL });
    const child = await checked(response, digest);
    await pullParts(base, child, response.headers.get('content-type'));
  }
  for (const blob of [manifest.config, ...(manifest.layers ?? [])]) {
    if (blob) await checked(await get(`${base}/blobs/${blob.digest}`, {}), blob.digest);
  }
}

async function checked(response: Response, digest: string): Promise<Buffer> {
  const body = Buffer.from(await response.arrayBuffer());
  expectOk(response, body);
  if (sha256(body) !== digest) throw new Error(`${response.url}: the bytes are ${sha256(body)}`);
  return body;
}

function expectOk(response: Response, body: Buffer): void {
  const { status, url, headers } = response;
  if (status !== 200) throw new Error(`${url}: ${status} ${body.toString('utf8').slice(0, 300)}`);
  const length = headers.get('content-length');
  if (length !== null && Number(length) !== body.length) throw new Error(`${url}: cut short`);
}

async function get(url: string, headers: Record<string, string>): Promise<Response> {
  try {
    return await fetch(url, { headers });
  } catch (error) {
    throw new Error(`${url}: ${(error as Error).message} ${(error as Error).cause}`);
  }
}
