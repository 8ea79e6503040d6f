/**
 * The only door to the AWS SDK, which is loaded when the first target needs it. Nothing of the SDK's
 * errors leaves this file but a status and a name: they may quote what was signed, and with what.
 */
import type * as Sdk from '@aws-sdk/client-s3';
import { DropdockError } from '../../errors.js';
import { credentialsFrom } from './credentials.js';
import type { StoreOptions } from './object-store.js';

/** Requests to one store at once; more wait for a socket. */
const SOCKETS = 64;
const CONNECT_MS = 5000;
/** The SDK would write to the console, of requests as well. */
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export type S3 = Sdk.S3;

/** What an answer that is an error means, by its status, where it means something. */
type Meanings<T> = Readonly<Record<number, T>>;

export interface Client {
  readonly s3: S3;
  /**
   * Sends one request, once.
   * @param meanings answers that are no failures
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
    // One request, one answer: whoever asks decides what a lost answer means.
    maxAttempts: 1,
    // Only AWS itself understands the SDK's own checksums; what matters is sent as Content-MD5.
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

/** Puts the store's own time into each answer: ages are judged by the clock that dated the object. */
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

/** A refusal is final for this request; after everything else it may have been done. */
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
