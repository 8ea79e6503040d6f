/** end-8, end-12 and Docker's catalog: lists of tags, referrers and repositories. */

import { createHash } from 'node:crypto';
import { type Digest, digestFrom } from '../image/digest.js';
import { REFERRERS_PAGE_BYTES_MAX } from '../image/limits.js';
import { MEDIA_TYPES } from '../image/media-types.js';
import type { RepositoryName } from '../image/names.js';
import { type Answer, answerBytes } from './answer.js';
import type { Asked } from './manifests.js';
import type { Refusal } from './refusal.js';
import type { Page } from './route.js';
import type { ServedSnapshot } from './source.js';

const JSON_TYPE = 'application/json';

/** end-8a, end-8b: distribution-spec v1.1.1, "Listing Tags". */
export async function answerTags(
  snapshot: ServedSnapshot,
  { repository, ...page }: { readonly repository: RepositoryName } & Page,
  asked: Asked,
): Promise<Answer | Refusal> {
  const list = (await snapshot.isRemoved()) ? undefined : await snapshot.tagsList();
  if (list === undefined) return { status: 404, code: 'NAME_UNKNOWN' };
  if (page.n === undefined && page.last === undefined) {
    return answerText(asked, { ...list, type: JSON_TYPE });
  }
  const { tags } = JSON.parse(list.bytes.toString('utf8')) as { tags: string[] };
  const { items, next } = cutPage(tags, page);
  const text = JSON.stringify({ name: repository, tags: items });
  return answerText(asked, {
    ...withDigest(text),
    type: JSON_TYPE,
    ...linkTo(`/v2/${repository}/tags/list`, { n: page.n, last: next }),
  });
}

/** Docker's `_catalog`. @param names sorted; only repositories that the caller may read */
export function answerCatalog(
  names: readonly string[],
  next: string | undefined,
  page: Page,
  asked: Asked,
): Answer {
  return answerText(asked, {
    ...withDigest(JSON.stringify({ repositories: names })),
    type: JSON_TYPE,
    ...linkTo('/v2/_catalog', { n: page.n, last: next }),
  });
}

interface ReferrersDocument {
  readonly manifests: readonly { readonly digest: string; readonly artifactType?: string }[];
}

const NO_REFERRERS = JSON.stringify({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [],
});

/**
 * end-12a, end-12b: distribution-spec v1.1.1, "Listing Referrers". A registry with this API must not answer
 * 404 here: clients would conclude that it lacks the API, and look for the fallback tag.
 * @param snapshot undefined for an unknown repository, whose list is empty
 */
export async function answerReferrers(
  snapshot: Pick<ServedSnapshot, 'referrers'> | undefined,
  route: {
    readonly repository: RepositoryName;
    readonly digest: Digest;
    readonly artifactType: string | undefined;
    readonly last: string | undefined;
  },
  asked: Asked,
): Promise<Answer> {
  const { artifactType, last } = route;
  const list = (await snapshot?.referrers(route.digest)) ?? withDigest(NO_REFERRERS);
  const isWhole = list.bytes.length <= REFERRERS_PAGE_BYTES_MAX;
  const type = MEDIA_TYPES.ociIndex;
  if (isWhole && artifactType === undefined && last === undefined) {
    return answerText(asked, { ...list, type });
  }
  const document = JSON.parse(list.bytes.toString('utf8')) as ReferrersDocument;
  const wanted = document.manifests.filter(
    (each) =>
      (artifactType === undefined || each.artifactType === artifactType) &&
      (last === undefined || each.digest > last),
  );
  const { manifests, next } = cutBytes(wanted);
  const path = `/v2/${route.repository}/referrers/${route.digest}`;
  const { headers } = linkTo(path, { artifactType, last: next });
  return answerText(asked, {
    ...withDigest(JSON.stringify({ ...document, manifests })),
    type,
    headers: {
      ...headers,
      ...(artifactType !== undefined && { 'OCI-Filters-Applied': 'artifactType' }),
    },
  });
}

/** Returns as many entries as clients accept in one response, at least one. Entries are sorted by digest. */
function cutBytes(all: ReferrersDocument['manifests']): ReferrersDocument & { next?: string } {
  let bytes = NO_REFERRERS.length;
  const end = all.findIndex((each, at) => {
    bytes += Buffer.byteLength(JSON.stringify(each)) + 1;
    return at > 0 && bytes > REFERRERS_PAGE_BYTES_MAX;
  });
  if (end < 0) return { manifests: all };
  const next = all[end - 1]?.digest;
  return { manifests: all.slice(0, end), ...(next !== undefined && { next }) };
}

/** @param all sorted. @returns `next`: the last item of the page; undefined on the last page */
export function cutPage(
  all: readonly string[],
  { n, last }: Page,
): { items: string[]; next: string | undefined } {
  const after = last === undefined ? all : all.filter((item) => item > last);
  const items = after.slice(0, n);
  const next = items.length < after.length ? items.at(-1) : undefined;
  return { items, next };
}

function linkTo(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): { headers?: Record<string, string> } {
  if (query.last === undefined) return {};
  const text = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) text.set(key, String(value));
  }
  return { headers: { Link: `<${path}?${text}>; rel="next"` } };
}

function withDigest(text: string): { bytes: Buffer; digest: Digest } {
  const bytes = Buffer.from(text);
  return { bytes, digest: digestFrom('sha256', createHash('sha256').update(bytes).digest('hex')) };
}

function answerText(
  { headers, isPrivate }: Asked,
  text: {
    readonly bytes: Buffer;
    readonly digest: Digest;
    readonly type: string;
    readonly headers?: Readonly<Record<string, string>>;
  },
): Answer {
  return answerBytes(headers, { ...text, caching: { immutable: false, isPrivate } }, text.bytes);
}
