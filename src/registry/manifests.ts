/** end-3: manifests by tag and by digest, in the form the client takes. */
import type { IncomingHttpHeaders } from 'node:http';
import { type Digest, isDigest } from '../image/digest.js';
import type { ManifestKind } from '../image/media-types.js';
import type { Tag } from '../image/names.js';
import { chooseForm, parseAccept } from './accept.js';
import { type Answer, answerBytes } from './answer.js';
import type { Refusal } from './refusal.js';
import type { ServedManifest, ServedSnapshot } from './source.js';

export interface Asked {
  readonly headers: IncomingHttpHeaders;
  /** The answer is not for shared caches. */
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
      ? await findForm(snapshot, reference, form)
      : byDigest
        ? (await snapshot.manifests(reference))[0]
        : await findTagged(snapshot, reference, headers.accept);
  if (found === undefined) return { status: 404, code: 'MANIFEST_UNKNOWN' };
  const { mediaType, digest } = found;
  const bytes = await found.read();
  if (bytes === undefined) return { status: 404, code: 'MANIFEST_UNKNOWN' };
  const caching = { immutable: byDigest, isPrivate };
  const named = {
    'Docker-Content-Digest': digest,
    // A tag's answer depends on what the client takes; a cache between must know.
    ...(!byDigest && form === undefined && { Vary: 'Accept' }),
  };
  return answerBytes(headers, { type: mediaType, digest, caching, headers: named }, bytes);
}

/** Under `1` lies, with redirect.oci: passthrough, what Crane does not know. */
async function findForm(
  snapshot: ServedSnapshot,
  reference: Digest | Tag,
  form: ManifestKind,
): Promise<ServedManifest | undefined> {
  if (!isDigest(reference) && (await snapshot.isRemoved())) return undefined;
  const forms = await snapshot.manifests(reference);
  const isThere = ({ kind }: ServedManifest) =>
    kind === form || (form === '1' && (kind === 'oci' || kind === 'oci-index'));
  return forms.find(({ kind }) => kind === form) ?? forms.find(isThere);
}

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
  readonly manifests?: readonly {
    readonly digest?: unknown;
    readonly platform?: { readonly os?: unknown; readonly architecture?: unknown };
  }[];
}

/** An index's first image for linux/amd64 that is an image itself and is there. */
async function amd64Image(
  snapshot: ServedSnapshot,
  list: ServedManifest,
): Promise<ServedManifest | undefined> {
  const bytes = await list.read();
  if (bytes === undefined) return undefined;
  const { manifests = [] } = JSON.parse(bytes.toString('utf8')) as Index;
  const wanted = list.kind === 'list' ? '2' : 'oci';
  for (const { digest, platform } of manifests) {
    if (platform?.os !== 'linux' || platform.architecture !== 'amd64') continue;
    if (typeof digest !== 'string' || !isDigest(digest)) continue;
    const image = (await snapshot.manifests(digest)).find((each) => each.kind === wanted);
    if (image) return image;
  }
  return undefined;
}
