/** Signs that a tool is at work inside a drop: names it uses while it writes, and takes away after. Pure. */

/** A stray file (.DS_Store, .stamp_built, index.json~) is no such sign, whatever begins with a dot. */
const WRITERS = [
  // skopeo, buildah and podman; umoci; BuildKit.
  /^(?:oci|dir)-put-blob|^\.umoci-|^index\.json\.lock$/,
  // rsync: `.<name>.` and six letters and digits, which are hardly ever a lower-case word.
  /^\..+\.(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6}$|^\.~tmp~$|^\.rsync-partial$/,
  // Downloads, uploads, synchronisers.
  /\.(?:part|partial|tmp|filepart|crdownload|aria2)$|^[.~]syncthing[.~]/,
];

/**
 * @param below the directory it lies in, with a slash at its end; '' for the drop's own
 */
export function showsWriter(below: string, name: string): boolean {
  // containerd and oras keep what is on its way in here, and the empty directory after.
  if (below.startsWith('ingest/') && !name.startsWith('.')) return true;
  return WRITERS.some((writer) => writer.test(name));
}
