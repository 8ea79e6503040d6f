/** end-3: manifests by tag and by digest, in the form that the client accepts. */
import type { IncomingHttpHeaders } from 'node:http';
import { type Digest, isDigest } from '../image/digest.js';
import { digestOfBytes } from '../image/manifest-digest.js';
import { type ManifestKind, MEDIA_TYPES } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import { chooseForm, parseAccept, takes } from './accept.js';
import { type Answer, answerBytes } from './answer.js';
import type { Refusal } from './refusal.js';
import type { ServedManifest, ServedSnapshot } from './source.js';

export interface Asked {
  readonly headers: IncomingHttpHeaders;
  /** Shared caches must not store the response. */
  readonly isPrivate: boolean;
}

export async function answerManifest(
  snapshot: ServedSnapshot,
  { reference, form }: { readonly reference: Digest | Tag; readonly form?: ManifestKind },
  { headers, isPrivate }: Asked,
): Promise<Answer | Refusal> {
  const byDigest = isDigest(reference);
  const found =
    form !== undefined
      ? await findForm(snapshot, reference, form, headers.accept)
      : byDigest
        ? (await snapshot.manifests(reference))[0]
        : await findTagged(snapshot, reference, headers.accept);
  if (found === undefined) return { status: 404, code: 'MANIFEST_UNKNOWN' };
  const { mediaType, digest } = found;
  const bytes = await found.read();
  if (bytes === undefined) return { status: 404, code: 'MANIFEST_UNKNOWN' };
  const caching = { immutable: byDigest, isPrivate };
  // An ETag identifies exact bytes, but a signed schema 1 manifest keeps its digest when its signatures
  // change.
  const isSigned = mediaType === MEDIA_TYPES.docker1signed;
  const etag = isSigned ? digestOfBytes('sha256', bytes) : digest;
  const named = {
    'Docker-Content-Digest': digest,
    // The response for a tag depends on the Accept header; caches must know.
    ...(!byDigest && { Vary: 'Accept' }),
  };
  return answerBytes(headers, { type: mediaType, digest: etag, caching, headers: named }, bytes);
}

/**
 * Finds a manifest in the form that Crane redirects to. Crane decides by the redirect file it read last: it
 * redirects a digest or tag that it does not know yet to `1`, and a tag that was an image or a list before to
 * `2` or `list`. If the manifest does not exist in that form, other forms are tried: any form for a digest, a
 * form that the client accepts for a tag. (config/apache/dropdock.conf does the same.)
 */
async function findForm(
  snapshot: ServedSnapshot,
  reference: Digest | Tag,
  form: ManifestKind,
  accept: string | undefined,
): Promise<ServedManifest | undefined> {
  const byDigest = isDigest(reference);
  if (!byDigest && (await snapshot.isRemoved())) return undefined;
  const forms = await snapshot.manifests(reference);
  const exact = forms.find(({ kind }) => kind === form);
  if (!CRANE_KINDS.includes(form) || (exact !== undefined && form !== '1')) return exact;
  if (byDigest) return exact ?? forms[0];
  const accepted = parseAccept(accept);
  // With redirect.oci: passthrough, `1` contains the forms that Crane does not know.
  const kind = ELSEWHERE.find(
    (each) =>
      forms.some((other) => other.kind === each) &&
      (takes(accepted, each) || (form === '1' && each.startsWith('oci'))),
  );
  return forms.find((each) => each.kind === kind) ?? exact;
}

/** The manifest directories that Crane supports. */
const CRANE_KINDS: readonly ManifestKind[] = ['1', '2', 'list'];
/** Docker's forms first, as Crane prefers them. */
const ELSEWHERE: readonly ManifestKind[] = ['list', '2', 'oci', 'oci-index'];

async function findTagged(
  snapshot: ServedSnapshot,
  tag: Tag,
  accept: string | undefined,
): Promise<ServedManifest | undefined> {
  if (await snapshot.isRemoved()) return undefined;
  const forms = await snapshot.manifests(tag);
  const kinds = forms.map(({ kind }) => kind);
  for (const { kind, how } of chooseForm(kinds, parseAccept(accept))) {
    const form = forms.find((each) => each.kind === kind);
    const found = how === 'amd64' && form ? await amd64Image(snapshot, form) : form;
    if (found) return found;
  }
  return undefined;
}

interface Index {
  readonly manifests?:
    | readonly {
        readonly digest?: unknown;
        readonly platform?: { readonly os?: unknown; readonly architecture?: unknown };
      }[]
    | null;
}

/** Returns the first linux/amd64 entry of an index that is an image (not an index) and exists. */
async function amd64Image(
  snapshot: ServedSnapshot,
  list: ServedManifest,
): Promise<ServedManifest | undefined> {
  const bytes = await list.read();
  if (bytes === undefined) return undefined;
  const { manifests } = JSON.parse(bytes.toString('utf8')) as Index;
  const wanted = list.kind === 'list' ? '2' : 'oci';
  for (const { digest, platform } of manifests ?? []) {
    if (platform?.os !== 'linux' || platform.architecture !== 'amd64') continue;
    if (typeof digest !== 'string' || !isDigest(digest)) continue;
    const image = (await snapshot.manifests(digest)).find((each) => each.kind === wanted);
    if (image) return image;
  }
  return undefined;
}
