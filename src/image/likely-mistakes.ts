/**
 * Finds images that were published as the drop says, but probably not as its uploader meant: without a tag,
 * or with a tag that was the end of a file name. Pure.
 */
import { archiveTag, parseImageReference, type RepositoryName } from './names.js';
import type { StagedContent, StagedRoot } from './staged-content.js';

/**
 * Returns sentences for the log and the receipt, each with what to do.
 * @param content what one repository gets of the drop
 */
export function likelyMistakes(repository: RepositoryName, content: StagedContent): string[] {
  return [
    ...untagged(repository, content),
    ...content.roots.flatMap((root) => [
      ...archiveTags(repository, root),
      ...archiveNames(repository, root),
    ]),
  ];
}

/** What is attached to an image (a signature, an SBOM) needs no tag: clients find it by its subject. */
function untagged(repository: RepositoryName, { roots, manifests }: StagedContent): string[] {
  const attached = new Set(
    manifests.filter(({ manifest }) => manifest.subject).map(({ digest }) => digest),
  );
  const images = roots.filter(({ digest, tags }) => tags.length === 0 && !attached.has(digest));
  const [first] = images;
  if (first === undefined) return [];
  const which =
    images.length === 1
      ? `The image ${first.digest} has no tag`
      : `${images.length} images have no tag (the first is ${first.digest})`;
  return [
    `${which}, so clients can pull only ${repository}@<digest>. ` +
      `Drop it again with a tag in its name: inbox/${repository}:TAG or inbox/${repository}=TAG.tar`,
  ];
}

/** `skopeo copy … oci-archive:inbox/app:1.0.tar` writes the file `app` with the tag `1.0.tar` inside. */
function archiveTags(repository: RepositoryName, { tags }: StagedRoot): string[] {
  return tags.flatMap((tag) => {
    const meant = archiveTag(tag);
    if (meant === undefined) return [];
    return (
      `The tag ${tag} looks like the end of a file name: skopeo and podman read what follows the colon in ` +
      `oci-archive:FILE:TAG as the tag. To publish ${repository}:${meant}, write ` +
      `oci-archive:inbox/${repository}=${tag}; then remove the wrong tag: dropdock untag ${repository} ${tag}`
    );
  });
}

/** `skopeo copy … docker-archive:inbox/app:1.0.tar` writes the file `app` with an image `1.0.tar:latest`. */
function archiveNames(repository: RepositoryName, { names }: StagedRoot): string[] {
  return names.flatMap((name) => {
    const reference = parseImageReference(name);
    const last = reference.repository?.slice(reference.repository.lastIndexOf('/') + 1) ?? '';
    const meant = archiveTag(last);
    if (meant === undefined) return [];
    return (
      `The image is named ${name} inside, which looks like the end of a file name: skopeo and podman read ` +
      `what follows the colon in docker-archive:FILE:NAME as the name. To publish ${repository}:${meant}, write ` +
      `docker-archive:inbox/${repository}=${last}; to undo this publish, see: dropdock history ${repository}`
    );
  });
}
