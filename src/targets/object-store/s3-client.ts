/**
 * The only import of the AWS SDK, which is loaded for the first target that needs it. Errors of the SDK leave
 * this file only as status and name: they may quote the signed request and credentials.
 */
import type * as Sdk from '@aws-sdk/client-s3';
import { DropdockError } from '../../errors.js';
import { credentialsFrom } from './credentials.js';
import type { StoreOptions } from './object-store.js';

/** Concurrent requests to one store; more requests wait for a socket. */
const SOCKETS = 64;
const CONNECT_MS = 5000;
/** The SDK would write to the console, even for requests. */
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export type S3 = Sdk.S3;

/** Maps error statuses that are expected to results. */
type Meanings<T> = Readonly<Record<number, T>>;

export interface Client {
  readonly s3: S3;
  /**
   * Sends one request, once.
   * @param meanings statuses that are not errors
   * @throws target.failed
   */
  ask<T>(
    key: string,
    meanings: Meanings<T>,
    send: (s3: S3, options: { readonly abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T>;
  presign(
    asked: { readonly Bucket: string; readonly Key: string },
    seconds: number,
  ): Promise<string>;
}

const load = () =>
  Promise.all([import('@aws-sdk/client-s3'), import('@aws-sdk/s3-request-presigner')]);

export async function openClient(options: StoreOptions): Promise<Client> {
  const [sdk, { getSignedUrl }] = await load();
  const { target, endpoint, region, pathStyle, credentialsFile, timeoutMs } = options;
  const agent = { keepAlive: true, maxSockets: options.sockets ?? SOCKETS };
  const s3 = new sdk.S3({
    region,
    ...(endpoint !== undefined && { endpoint }),
    forcePathStyle: pathStyle,
    ...(credentialsFile !== undefined && { credentials: credentialsFrom(credentialsFile) }),
    // No retries in the SDK: the caller decides what a lost response means.
    maxAttempts: 1,
    // Only AWS itself supports the SDK's own checksums; Content-MD5 is sent where it matters.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    logger: SILENT,
    requestHandler: {
      logger: SILENT,
      connectionTimeout: CONNECT_MS,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
  tellTime(s3);
  return {
    s3,
    presign: (asked, expiresIn) => getSignedUrl(s3, new sdk.GetObjectCommand(asked), { expiresIn }),
    ask: async (key, meanings, send) => {
      try {
        return await send(s3, { abortSignal: AbortSignal.timeout(timeoutMs) });
      } catch (error) {
        const status = statusOf(error);
        if (status !== undefined && status in meanings) return meanings[status] as never;
        throw toFailure(target, key, error);
      }
    },
  };
}

/** Adds the store's time to each response: the age of an object is computed with the clock that dated it. */
function tellTime(s3: S3): void {
  s3.middlewareStack.add(
    (next) => async (given) => {
      const result = await next(given);
      const { headers } = result.response as { headers?: Record<string, string> };
      const storeMs = Date.parse(headers?.date ?? '');
      if (!Number.isNaN(storeMs)) Object.assign(result.output ?? {}, { storeMs });
      return result;
    },
    { step: 'deserialize', name: 'tellTime', priority: 'high' },
  );
}

interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

function statusOf(error: unknown): number | undefined {
  return (error as SdkError).$metadata?.httpStatusCode;
}

/** A refused request did not happen; after any other error it may have happened. */
export function toFailure(target: string, key: string, error: unknown): DropdockError {
  const { name = 'Error', code, message = '' } = error as SdkError;
  const status = statusOf(error);
  const refused = status !== undefined && status >= 400 && status < 500;
  const isCredentials = status === undefined && /credential/i.test(`${name} ${message}`);
  const what = isCredentials
    ? 'has no usable credentials'
    : status === undefined
      ? `did not answer (${code ?? name})`
      : `answered ${status} ${name}`;
  return new DropdockError('target.failed', `The target ${target} ${what} for ${key}.`, {
    path: key,
    target,
    outcome: refused || isCredentials ? 'refused' : 'unknown',
    ...(status !== undefined && { status }),
  });
}
