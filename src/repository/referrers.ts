/** Referrers responses, derived from the content: distribution-spec v1.1, "Listing Referrers". */
import type { Digest } from '../image/digest.js';
import { MEDIA_TYPES } from '../image/media-types.js';
import { liveManifests } from './merge.js';
import type { RepositoryState } from './state.js';

/** For each subject that something live refers to, the text of its referrers response. */
export function renderReferrers(state: RepositoryState): Map<Digest, string> {
  const bySubject = new Map<Digest, object[]>();
  const live = liveManifests(state);
  // Few of very many have a subject: only they are looked up and sorted.
  const attached = [...state.manifests].filter(([_, { subject }]) => subject !== undefined);
  for (const [digest, record] of attached.sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (record.subject === undefined || !live.has(digest)) continue;
    const { mediaType, size, artifactType, annotations } = record;
    const all = bySubject.get(record.subject) ?? [];
    all.push({
      mediaType,
      digest,
      size,
      ...(artifactType !== undefined && { artifactType }),
      ...(annotations && { annotations }),
    });
    bySubject.set(record.subject, all);
  }
  return new Map(
    [...bySubject].map(([subject, manifests]) => [
      subject,
      `${JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests })}\n`,
    ]),
  );
}
