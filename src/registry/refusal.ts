/** What is answered when there is nothing to give: distribution-spec v1.1.1, "Error Codes". Pure. */

export interface Refusal {
  readonly status: 400 | 401 | 404 | 405 | 416 | 429 | 500 | 503;
  readonly code: keyof typeof MESSAGES;
  readonly message?: string;
  /** What is wrong with the token that came along (RFC 6750, 3.1). */
  readonly token?: 'invalid_token' | 'insufficient_scope';
  /** What it is about. */
  readonly detail?: Readonly<Record<string, string>>;
}

const MESSAGES = {
  BLOB_UNKNOWN: 'blob unknown to registry',
  DIGEST_INVALID: 'no digest that is known here (sha256 or sha512, in lower case)',
  MANIFEST_UNKNOWN: 'manifest unknown to registry',
  NAME_INVALID: 'invalid repository name',
  NAME_UNKNOWN: 'repository name not known to registry',
  UNAUTHORIZED: 'authentication required',
  UNSUPPORTED: 'this registry is read only; publish by putting an image into the inbox',
  TOOMANYREQUESTS: 'too many requests; come again later',
  /** The last three are no codes of the spec; Docker's registry has them. */
  PAGINATION_NUMBER_INVALID: 'invalid number of results requested',
  RANGE_INVALID: 'the range lies outside the blob',
  UNKNOWN: 'the server could not read what was asked for',
} as const;

export function isRefusal(value: object): value is Refusal {
  return 'status' in value && 'code' in value;
}

/**
 * Always with a `detail`: clients that are built on Docker's library (docker, containerd, podman)
 * throw the message away where there is none and the message is the one they know for this code, and
 * then say no more than "name unknown".
 */
export function refusalBody({ code, message = MESSAGES[code], detail = {} }: Refusal): Buffer {
  return Buffer.from(`${JSON.stringify({ errors: [{ code, message, detail }] })}\n`);
}

export const BASIC_CHALLENGE = 'Basic realm="dropdock", charset="UTF-8"';
const RETRY_LATER = { 'Retry-After': '1' };

/** What goes with a refusal's status. */
export function refusalHeaders({ status }: Refusal): Record<string, string> {
  if (status === 401) return { 'WWW-Authenticate': BASIC_CHALLENGE };
  if (status === 405) return { Allow: 'GET, HEAD' };
  return status === 429 || status === 503 ? RETRY_LATER : {};
}
