/** Builds referrers responses from the content: distribution-spec v1.1, "Listing Referrers". */
import type { Digest } from '../image/digest.js';
import { MEDIA_TYPES } from '../image/media-types.js';
import { liveManifests } from './merge.js';
import type { RepositoryState } from './state.js';

/** Returns the referrers response for each subject of a live manifest. */
export function renderReferrers(state: RepositoryState): Map<Digest, string> {
  const bySubject = new Map<Digest, object[]>();
  const live = liveManifests(state);
  // Only few of many manifests have a subject: filter before sorting.
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
