/** All limits for drops, each with its reason. Sizes are bytes. */

/** containers/image reads no manifest over 4 MiB; a larger one could be published but not pulled. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

/** An index.json lists every image of a layout, so it may be longer than one manifest. */
export const LAYOUT_INDEX_BYTES_MAX = 32 * 1024 * 1024;

/** Real manifests nest 6 levels; thousands of levels may overflow the stack of a parser. */
export const JSON_DEPTH_MAX = 32;

/** Total size of the manifests of one drop; they are in memory while the drop is read. */
export const MANIFESTS_TOTAL_BYTES_MAX = 256 * 1024 * 1024;

/** Annotations of one manifest in a referrers response; longer ones are omitted. */
export const REFERRER_ANNOTATIONS_BYTES_MAX = 64 * 1024;

/** One page of a referrers response; clients read it like a manifest. */
export const REFERRERS_PAGE_BYTES_MAX = MANIFEST_BYTES_MAX;

/** One blob. The largest known layers have some tens of gigabytes; a sparse file may claim any size. */
export const BLOB_BYTES_MAX = 256 * 1024 ** 3;

/** Images of one docker-save archive, and the total size of their configs. */
export const SAVED_IMAGES_MAX = 10_000;
export const SAVED_CONFIGS_BYTES_MAX = 64 * 1024 * 1024;

/** Nested indexes are legal; no known image uses more than two levels. */
export const INDEX_DEPTH_MAX = 8;

/** Manifests in one drop: enough for a mirror of 50,000 tags with a dozen platforms each. */
export const MANIFESTS_PER_DROP_MAX = 1_000_000;

/** Layers of one image. Overlay filesystems mount at most 500; Docker allows 127. */
export const LAYERS_MAX = 4096;

/** Files in one directory drop, so that scanning a hostile drop ends. */
export const FILES_PER_DROP_MAX = 5_000_000;

/** Directory levels below a drop: blobs/<algorithm>/<hex> needs 3, a legacy layer 2. */
export const DROP_DEPTH_MAX = 16;

/**
 * Bytes of a repository name. Its id is one path component; `<id>.json` and its temporary links must fit into
 * a file name (255 bytes).
 */
export const REPOSITORY_NAME_MAX = 200;

/** Bytes of a drop's path below the inbox, for the same reason (claims and receipts add to it). */
export const DROP_NAME_MAX = 200;

/**
 * Bytes of a drop's path as one path component. With the time of its claim, the process id and the deletion
 * mark (49 bytes) it must fit into a file name (255 bytes).
 */
export const CLAIM_NAME_MAX = 206;

/** Size of one read of a blob. Measured: 1 MiB hashes as fast as 4 MiB and a third faster than 64 KiB. */
export const READ_CHUNK_BYTES = 1024 * 1024;

/** Entries that a message lists by name; the others are counted. */
export const LISTED_MAX = 20;

/** Members of one archive: enough for a mirror of 50,000 tags with a few blobs each. */
export const MEMBERS_PER_ARCHIVE_MAX = 300_000;

/** One pax or GNU long-name record; file names are much shorter. */
export const TAR_META_BYTES_MAX = 1024 * 1024;

/**
 * Maximum ratio of unpacked to packed size, in addition to a fixed allowance. Layers of real images compress
 * at most tenfold; a gzip of zeros expands a thousandfold.
 */
export const EXPANSION_FACTOR_MAX = 200;
export const EXPANSION_BYTES_FREE = 256 * 1024 * 1024;

/**
 * The same allowance for all compressed layers of one docker-archive. Their unpacked bytes are not written,
 * so it may be larger: an image with a file of zeros is legal, and 1 GiB of zeros is unpacked and hashed in
 * seconds.
 */
export const LAYERS_EXPANSION_BYTES_FREE = 1024 ** 3;

/** A zstd decoder allocates this at once. zstd(1) refuses more by default. */
export const ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024;

/** docker save's manifest.json lists images and layers, but contains no content (containers/image: 1 MiB). */
export const DOCKER_SAVE_MANIFEST_BYTES_MAX = 4 * 1024 * 1024;
