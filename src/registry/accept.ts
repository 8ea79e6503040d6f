/**
 * Chooses the form of a manifest for a client: OCI if the client accepts OCI, Docker if it accepts only
 * Docker, and the linux/amd64 image of an index if it accepts no index. Pure.
 */
import { isIndexKind, type ManifestKind, mediaTypeOf } from '../image/media-types.js';

/**
 * Returns the media types in an Accept header, without those it excludes (`q=0`). Several header lines count
 * as one line joined by commas (RFC 9110, 5.3).
 */
export function parseAccept(header: string | undefined): ReadonlySet<string> {
  const types = new Set<string>();
  for (const range of (header ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    if (type !== '' && !parameters.some((each) => /^q=0(\.0*)?$/.test(each))) types.add(type);
  }
  return types;
}

/** Returns true if the client accepts a media type of this kind. */
export function takes(accepted: ReadonlySet<string>, kind: ManifestKind): boolean {
  return mediaTypeOf(kind).some((type) => accepted.has(type));
}

/** Best first. A tag has at most one kind of each of the first two pairs. */
const PREFERRED: readonly ManifestKind[] = ['oci-index', 'oci', 'list', '2', '1'];

export type Choice =
  | { readonly kind: ManifestKind; readonly how: 'itself' }
  /** The client accepts no lists: send the list's linux/amd64 image (as Pulp and Crane do). */
  | { readonly kind: ManifestKind; readonly how: 'amd64' };

/**
 * @param forms the forms in which the tag is available
 * @returns the choices to try, best first; an index may contain no amd64 image
 */
export function chooseForm(
  forms: readonly ManifestKind[],
  accepted: ReadonlySet<string>,
): Choice[] {
  const there = PREFERRED.filter((kind) => forms.includes(kind));
  const named = there
    .filter((kind) => takes(accepted, kind))
    .map((kind): Choice => ({ kind, how: 'itself' }));
  const members = there
    .filter((kind) => isIndexKind(kind) && takes(accepted, kind === 'list' ? '2' : 'oci'))
    .map((kind): Choice => ({ kind, how: 'amd64' }));
  // Last, the stored form: for clients that send no Accept header or accept anything. The response gives its
  // real type.
  const stored = there.slice(0, 1).map((kind): Choice => ({ kind, how: 'itself' }));
  return [...named, ...members, ...stored];
}
