/**
 * Signatures, SBOMs and attestations of the manifests of a repository. They refer to their subject, or they
 * have a tag that names it, as cosign writes it: `sha256-<hex>.sig`. Pure.
 */
import type { Digest } from '../image/digest.js';
import type { Tag } from '../image/names.js';
import { liveManifests } from './merge.js';
import type { ManifestRecord, RepositoryState } from './state.js';

export interface Attached {
  readonly digest: string;
  /** Bytes of its content. */
  readonly bytes: number;
  readonly artifactType?: string;
  /** The tag that attaches it. */
  readonly tag?: string;
}

export interface AttachedContent {
  readonly bySubject: ReadonlyMap<Digest, readonly Attached[]>;
  /** Tags that only attach something; they are shown at their subject. */
  readonly tags: ReadonlySet<Tag>;
}

/** Cosign's tags, and the tag of clients that do not know the referrers API (distribution-spec v1.1). */
const ATTACHING = /^sha256-([0-9a-f]{64})(?:\.(sig|att|sbom))?$/;

/** Returns the subject that a tag names: `sha256-<hex>.sig`; undefined for any other tag. */
function subjectOf(tag: string): Digest | undefined {
  // Most tags end here: there may be 50,000.
  if (!tag.startsWith('sha256-')) return undefined;
  const hex = ATTACHING.exec(tag)?.[1];
  return hex === undefined ? undefined : (`sha256:${hex}` as Digest);
}

/** Returns the tags that attach something to a manifest of this repository. */
export function attachingTags({ tags, manifests }: RepositoryState): Set<Tag> {
  const found = new Set<Tag>();
  for (const tag of tags.keys()) {
    const subject = subjectOf(tag);
    if (subject !== undefined && manifests.has(subject)) found.add(tag);
  }
  return found;
}

export function attachedContent(state: RepositoryState): AttachedContent {
  const bySubject = new Map<Digest, Map<string, Attached>>();
  const add = (subject: Digest, digest: Digest, tag?: Tag) => {
    const record = state.manifests.get(digest);
    if (record === undefined) return;
    const all = bySubject.get(subject) ?? new Map<string, Attached>();
    bySubject.set(subject, all);
    all.set(digest, { ...all.get(digest), ...describe(digest, record), ...(tag && { tag }) });
  };
  for (const [digest, subject] of referrers(state)) add(subject, digest);
  const tags = attachingTags(state);
  for (const tag of tags) {
    const subject = subjectOf(tag) as Digest;
    const { digest } = state.tags.get(tag) ?? {};
    if (digest === undefined) continue;
    if (tag.includes('.')) add(subject, digest, tag);
    else
      for (const child of state.manifests.get(digest)?.children ?? []) add(subject, child.digest);
  }
  return { bySubject: new Map([...bySubject].map(([key, all]) => [key, [...all.values()]])), tags };
}

function referrers(state: RepositoryState): [Digest, Digest][] {
  const pairs = [...state.manifests].flatMap(([digest, { subject }]) =>
    subject === undefined ? [] : [[digest, subject] as [Digest, Digest]],
  );
  if (pairs.length === 0) return [];
  const live = liveManifests(state);
  return pairs.filter(([digest]) => live.has(digest)).sort(([a], [b]) => (a < b ? -1 : 1));
}

function describe(digest: Digest, { size, blobs, artifactType }: ManifestRecord): Attached {
  const bytes = blobs.reduce((sum, blob) => sum + blob.size, size);
  return { digest, bytes, ...(artifactType !== undefined && { artifactType }) };
}
