/** Detects that a tool is writing a drop, by names that tools use while writing and remove afterwards. Pure. */

/** A stray file (.DS_Store, .stamp_built, index.json~) is no sign of a writer, so not every dot file counts. */
const WRITERS = [
  // skopeo, buildah and podman; umoci; BuildKit.
  /^(?:oci|dir)-put-blob|^\.umoci-|^index\.json\.lock$/,
  // rsync: `.<name>.` and six letters and digits; excludes lower-case words.
  /^\..+\.(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6}$|^\.~tmp~$|^\.rsync-partial$/,
  // Downloads, uploads, synchronisers.
  /\.(?:part|partial|tmp|filepart|crdownload|aria2)$|^[.~]syncthing[.~]/,
];

/** @param below its directory within the drop, with a trailing slash; '' for the drop itself */
export function showsWriter(below: string, name: string): boolean {
  // containerd and oras write here, and leave the empty directory afterwards.
  if (below.startsWith('ingest/') && !name.startsWith('.')) return true;
  return WRITERS.some((writer) => writer.test(name));
}
