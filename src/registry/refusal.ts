/** Error responses: distribution-spec v1.1.1, "Error Codes". Pure. */

export interface Refusal {
  readonly status: 400 | 401 | 404 | 405 | 416 | 429 | 500 | 503;
  readonly code: keyof typeof MESSAGES;
  readonly message?: string;
  /** The error of the token in the request (RFC 6750, 3.1). */
  readonly token?: 'invalid_token' | 'insufficient_scope';
  /** The object of the error, for example its name or digest. */
  readonly detail?: Readonly<Record<string, string>>;
}

const MESSAGES = {
  BLOB_UNKNOWN: 'blob unknown to registry',
  DIGEST_INVALID: 'invalid digest (supported: sha256 and sha512, in lower case)',
  MANIFEST_UNKNOWN: 'manifest unknown to registry',
  NAME_INVALID: 'invalid repository name',
  NAME_UNKNOWN: 'repository name not known to registry',
  UNAUTHORIZED: 'authentication required',
  UNSUPPORTED: 'this registry is read-only; to publish an image, put it into the inbox',
  TOOMANYREQUESTS: 'too many requests; try again later',
  /** The last three codes are not in the spec; Docker's registry has them. */
  PAGINATION_NUMBER_INVALID: 'invalid number of results requested',
  RANGE_INVALID: 'the requested range is outside the blob',
  UNKNOWN: 'the server could not read the requested content',
} as const;

export function isRefusal(value: object): value is Refusal {
  return 'status' in value && 'code' in value;
}

/**
 * Always includes a `detail`: clients built on Docker's library (docker, containerd, podman) drop the message
 * if there is no detail and the message is the default for its code. They then print only "name unknown".
 */
export function refusalBody({ code, message = MESSAGES[code], detail = {} }: Refusal): Buffer {
  return Buffer.from(`${JSON.stringify({ errors: [{ code, message, detail }] })}\n`);
}

export const BASIC_CHALLENGE = 'Basic realm="dropdock", charset="UTF-8"';
const RETRY_LATER = { 'Retry-After': '1' };

/** Returns the headers that the status requires. */
export function refusalHeaders({ status }: Refusal): Record<string, string> {
  if (status === 401) return { 'WWW-Authenticate': BASIC_CHALLENGE };
  if (status === 405) return { Allow: 'GET, HEAD' };
  return status === 429 || status === 503 ? RETRY_LATER : {};
}
