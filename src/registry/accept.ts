/**
 * Which form of a manifest a client gets: OCI when it takes OCI, Docker when it takes only that, an
 * index's linux/amd64 image when it knows no index. Pure.
 */
import { isIndexKind, type ManifestKind, mediaTypeOf } from '../image/media-types.js';

/**
 * The types an Accept header names, without those it refuses (`q=0`); none where it names none.
 * Several lines of it are one, joined by commas (RFC 9110, 5.3).
 */
export function parseAccept(header: string | undefined): ReadonlySet<string> {
  const types = new Set<string>();
  for (const range of (header ?? '').split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    if (type !== '' && !parameters.some((each) => /^q=0(\.0*)?$/.test(each))) types.add(type);
  }
  return types;
}

/** Whether the types that a client named have one of this kind. */
export function takes(accepted: ReadonlySet<string>, kind: ManifestKind): boolean {
  return mediaTypeOf(kind).some((type) => accepted.has(type));
}

/** Best first; there is at most one of each of the first two pairs. */
const PREFERRED: readonly ManifestKind[] = ['oci-index', 'oci', 'list', '2', '1'];

export type Choice =
  | { readonly kind: ManifestKind; readonly how: 'itself' }
  /** The client knows no lists: the image of this list for linux/amd64 (as Pulp and Crane do). */
  | { readonly kind: ManifestKind; readonly how: 'amd64' };

/**
 * @param forms in which a tag can be had
 * @returns the choices to try, best first; an index may turn out to hold no amd64 image
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
  // Last, what is stored: for clients that say nothing or take anything; others see its true type.
  const stored = there.slice(0, 1).map((kind): Choice => ({ kind, how: 'itself' }));
  return [...named, ...members, ...stored];
}
