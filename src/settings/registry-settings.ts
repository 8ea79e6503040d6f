/** The shape of `registry`: the registry endpoint. */
import * as v from 'valibot';
import { noList } from '../image/json.js';
import { duration, pause } from './duration.js';
import { agree, counted, filled, HTTP, orNull, type Problem, text, url } from './shapes.js';
import { LOCAL_TARGET } from './target-settings.js';

/** `127.0.0.1:5000`, `[::1]:5000`, `:5000` for all addresses, or the path of a Unix socket. */
export const listen = v.pipe(
  v.string(),
  v.regex(
    /^(?:\/.+|(?:\[[0-9a-f:.%a-z]*\]|[^:/\s]*):\d{1,5})$/i,
    'expected <address>:<port>, :<port>, the path of a socket, or null to disable',
  ),
  v.check(
    (text) => text.startsWith('/') || Number(text.split(':').at(-1)) < 65_536,
    'expected a port up to 65535',
  ),
);

/** S3 accepts presigned URLs for at most 7 days. */
const SIGNED_MS_MAX = 7 * 24 * 3600 * 1000;
const TOKEN_MS_MAX = 24 * 3600 * 1000;

/** Returns the settings that contradict each other or need another one. */
function* wrongTogether(
  registry: Readonly<
    Record<
      | 'target'
      | 'blobs'
      | 'blobsUrl'
      | 'htpasswd'
      | 'tokenKey'
      | 'tokenUrl'
      | 'certificate'
      | 'key',
      unknown
    >
  > & { readonly anonymous: boolean },
): Iterable<Problem> {
  const need = (path: string, message: string) => ({ path: [path], message });
  const isLocal = registry.target === LOCAL_TARGET;
  if (registry.blobs === 'redirect' && registry.blobsUrl === null && isLocal) {
    yield need('blobs', 'redirect needs registry.blobsUrl, the URL to redirect to');
  }
  if (registry.blobs === 'x-accel' && !isLocal) {
    yield need(
      'blobs',
      'x-accel needs the directory as registry.target; an object store has no files for nginx',
    );
  }
  if (!registry.anonymous && registry.htpasswd === null) {
    yield need(
      'anonymous',
      'false needs registry.htpasswd: without users, no client could read anything',
    );
  }
  for (const name of ['tokenKey', 'tokenUrl'] as const) {
    if (registry[name] === null || registry.htpasswd !== null) continue;
    yield need(name, 'needs registry.htpasswd, which is not set: tokens are issued to its users');
  }
  if ((registry.certificate === null) !== (registry.key === null)) {
    yield need(
      registry.key === null ? 'certificate' : 'key',
      'certificate and key must both be set',
    );
  }
}

const shape = v.strictObject({
  listen: v.optional(v.nullable(listen), '127.0.0.1:5000'),
  target: v.optional(filled, LOCAL_TARGET),
  blobs: v.optional(v.picklist(['auto', 'stream', 'redirect', 'x-accel']), 'auto'),
  blobsUrl: orNull(text(/^[\x21-\x7e]+$/, 'expected a URL in ASCII')),
  accelPrefix: v.optional(
    text(/^\/[\x21-\x7e]*$/, 'expected a path in ASCII that begins with /'),
    '/dropdock-blobs',
  ),
  signedFor: v.optional(
    v.pipe(
      duration,
      v.check((ms) => ms >= 10_000 && ms <= SIGNED_MS_MAX, 'expected 10s to 7d'),
    ),
    '15m',
  ),
  pointerAge: v.optional(duration, '1s'),
  staleFor: v.optional(duration, '10m'),
  anonymous: v.optional(v.boolean(), true),
  htpasswd: orNull(filled),
  tokenFor: v.optional(
    v.pipe(
      duration,
      // Clients assume at least one minute, even if the response says less (OCI/Docker token spec).
      v.check((ms) => ms >= 60_000 && ms <= TOKEN_MS_MAX, 'expected 1m to 1d'),
    ),
    '15m',
  ),
  tokenKey: orNull(filled),
  // The URL is sent as a quoted string in WWW-Authenticate: no quote and no backslash.
  tokenUrl: orNull(
    v.pipe(
      url(HTTP, 'expected a URL that begins with http:// or https://'),
      v.regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'expected a URL in ASCII'),
    ),
  ),
  certificate: orNull(filled),
  key: orNull(filled),
  page: v.optional(v.boolean(), true),
  connections: v.optional(counted, 1000),
  idle: v.optional(pause, '60s'),
});

export const registry = v.optional(
  v.pipe(noList, shape, agree<v.InferOutput<typeof shape>>(wrongTogether)),
  {} as never,
);
