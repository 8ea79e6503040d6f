/** The Docker forms of what is only in a drop yet. Pure. */
import type { Digest } from '../image/digest.js';
import { manifestKind } from '../image/media-types.js';
import type { StagedContent } from '../image/staged-content.js';
import { type Converted, convertAll } from './convert.js';
import { toManifestRecord } from './state.js';

/**
 * Those of the images that a drop gives a tag. An index has to wait: its form is made of the images the
 * repository has by then.
 * @returns by the digest of the original
 */
export function convertImages(content: StagedContent): ReadonlyMap<Digest, Converted> {
  const sizes = new Map(content.blobs.map(({ digest, size }) => [digest, size]));
  const manifests = new Map(
    content.manifests.map((each) => [each.digest, toManifestRecord(each, sizes)]),
  );
  const parsed = new Map(content.manifests.map(({ digest, manifest }) => [digest, manifest]));
  const images = content.roots.flatMap(({ digest, tags }) => {
    const isImage = manifestKind(manifests.get(digest)?.mediaType ?? '') === 'oci';
    return isImage && tags.length > 0 ? [digest] : [];
  });
  const load = (digest: Digest) => {
    throw new Error(`${digest} is not in the drop`);
  };
  const { conversions, made } = convertAll(images, new Map(), { manifests, parsed, load });
  const forms = new Map(made.map((form) => [form.digest, form]));
  return new Map(
    images.flatMap((original) => {
      const digest = conversions.get(original);
      const form = digest && forms.get(digest);
      return form ? [[original, form]] : [];
    }),
  );
}
