/**
 * Pulls like the Docker engine, request for request (docker/distribution, registry/client; moby,
 * distribution/pull_v2.go): HEAD by tag, GET if that returns no digest, then everything by digest, with
 * the same Accept headers each time and after each redirect.
 */
import { ask, type Reply } from './ask.js';
import { sha256 } from './make-image.js';

const DOCKER = 'application/vnd.docker.distribution.manifest';
const OCI = 'application/vnd.oci.image';

/** What clients send, one line for each. */
export const ENGINES: Readonly<Record<string, readonly string[]>> = {
  docker: [
    `${DOCKER}.v1+prettyjws`,
    'application/json',
    `${DOCKER}.v2+json`,
    `${DOCKER}.list.v2+json`,
    `${OCI}.index.v1+json`,
    `${OCI}.manifest.v1+json`,
  ],
  containerd: [
    [`${DOCKER}.v2+json`, `${DOCKER}.list.v2+json`, `${OCI}.manifest.v1+json`]
      .concat(`${OCI}.index.v1+json`, '*/*')
      .join(', '),
  ],
  // A client that knows neither OCI nor lists.
  'no lists': [`${DOCKER}.v1+prettyjws`, 'application/json', `${DOCKER}.v2+json`],
};

export interface Pulled {
  /** Of what the tag names. */
  readonly digest: string;
  readonly type: string;
  /** The digests of the layers of the image for linux/amd64. */
  readonly layers: readonly string[];
}

interface Manifest {
  readonly manifests?: readonly {
    readonly digest: string;
    readonly platform?: { readonly architecture?: string };
  }[];
  readonly config?: { readonly digest: string };
  readonly layers?: readonly { readonly digest: string }[];
}

/** @throws with what the engine says when it cannot pull */
export async function pull(
  url: string,
  repository: string,
  tag: string,
  accept: readonly string[],
): Promise<Pulled> {
  const manifest = async (reference: string, method = 'GET') =>
    follow(`${url}/v2/${repository}/manifests/${reference}`, method, accept);
  const head = await manifest(tag, 'HEAD');
  let digest = head.status < 400 ? head.headers['docker-content-digest'] : undefined;
  if (typeof digest !== 'string') digest = sha256(ok(await manifest(tag)).body);
  const top = ok(await manifest(digest));
  const type = top.headers['content-type'] ?? '';
  let document = parse(top, digest);
  if (document.manifests) {
    const member = document.manifests.find(({ platform }) => platform?.architecture === 'amd64');
    if (member === undefined) throw new Error('no matching manifest for linux/amd64');
    document = parse(ok(await manifest(member.digest)), member.digest);
  }
  const layers = (document.layers ?? []).map((each) => each.digest);
  for (const blob of [document.config?.digest ?? '', ...layers]) {
    const { body } = ok(await follow(`${url}/v2/${repository}/blobs/${blob}`, 'GET', []));
    if (sha256(body) !== blob) throw new Error(`filesystem layer verification failed for ${blob}`);
  }
  return { digest, type, layers };
}

async function follow(url: string, method: string, accept: readonly string[]): Promise<Reply> {
  for (let at = url, hops = 0; hops < 10; hops++) {
    const { origin, pathname, search } = new URL(at);
    const headers = accept.length > 0 ? { Accept: accept } : undefined;
    const reply = await ask(origin, pathname + search, { method, ...(headers && { headers }) });
    const { location } = reply.headers;
    if (reply.status < 300 || reply.status >= 400 || location === undefined) return reply;
    at = new URL(location, at).href;
  }
  throw new Error('stopped after 10 redirects');
}

function ok(reply: Reply): Reply {
  if (reply.status < 400) return reply;
  const text = reply.body.toString();
  let errors: { code: string; message: string; detail?: unknown }[];
  try {
    ({ errors } = JSON.parse(text));
  } catch {
    throw new Error(`error parsing HTTP ${reply.status} response body: "${text.slice(0, 60)}"`);
  }
  const [{ code, message, detail } = { code: '', message: '' }] = errors;
  const said = code.toLowerCase().replaceAll('_', ' ');
  // Without a detail, a message that is the code's own is not kept.
  const isKept = detail !== undefined || message !== OWN_MESSAGES[code];
  throw new Error(isKept ? `${said}: ${message}` : said);
}

const OWN_MESSAGES: Readonly<Record<string, string>> = {
  NAME_UNKNOWN: 'repository name not known to registry',
  BLOB_UNKNOWN: 'blob unknown to registry',
  MANIFEST_UNKNOWN: 'manifest unknown',
  UNAUTHORIZED: 'authentication required',
};

function parse({ body }: Reply, digest: string): Manifest {
  if (sha256(body) !== digest) throw new Error(`manifest verification failed for digest ${digest}`);
  return JSON.parse(body.toString()) as Manifest;
}
