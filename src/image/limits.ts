/** Every upper bound on what a drop may ask of us, each with its reason. Sizes are bytes. */

/** containers/image reads no manifest over 4 MiB; what is larger could be published, not pulled. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024;

/** An index.json lists every image of a layout, so it may be longer than one manifest. */
export const LAYOUT_INDEX_BYTES_MAX = 32 * 1024 * 1024;

/** Real manifests nest 6 levels; a parser that is handed thousands may exhaust its stack. */
export const JSON_DEPTH_MAX = 32;

/** Manifests of one drop together; they are held in memory while the drop is read. */
export const MANIFESTS_TOTAL_BYTES_MAX = 256 * 1024 * 1024;

/** Annotations that a referrers response shows of one manifest; longer ones are left out of it. */
export const REFERRER_ANNOTATIONS_BYTES_MAX = 64 * 1024;

/** One page of a referrers response; clients read it as they read a manifest. */
export const REFERRERS_PAGE_BYTES_MAX = MANIFEST_BYTES_MAX;

/** One blob. The largest layers seen are some tens of gigabytes; a sparse file may claim anything. */
export const BLOB_BYTES_MAX = 256 * 1024 ** 3;

/** Images of one docker-save archive, and bytes of their configs together. */
export const SAVED_IMAGES_MAX = 10_000;
export const SAVED_CONFIGS_BYTES_MAX = 64 * 1024 * 1024;

/** Indexes in indexes are legal; nobody was seen to use more than two levels. */
export const INDEX_DEPTH_MAX = 8;

/** Manifests one drop may hold. 50,000 tags of a mirror, each with a dozen platforms, fit. */
export const MANIFESTS_PER_DROP_MAX = 1_000_000;

/** Layers of one image. Overlay filesystems mount at most 500; Docker allows 127. */
export const LAYERS_MAX = 4096;

/** Files one directory drop may hold, so that a walk of a hostile drop ends. */
export const FILES_PER_DROP_MAX = 5_000_000;

/** Directory levels below a drop: blobs/<algorithm>/<hex> needs 3, a legacy layer 2. */
export const DROP_DEPTH_MAX = 16;

/**
 * Bytes of a repository name. Its id is one path component, `<id>.json` and the temporary links
 * made of it must stay within the 255 bytes of a file name.
 */
export const REPOSITORY_NAME_MAX = 200;

/** Bytes of a drop's path below the inbox, for the same reason (claims and receipts add to it). */
export const DROP_NAME_MAX = 200;

/**
 * Bytes of a drop's path as one component. With the moment of its claim, the process that has it
 * and the mark of one that is being deleted (49 bytes) it must stay within the 255 of a file name.
 */
export const CLAIM_NAME_MAX = 206;

/** One read of a blob. Measured: 1 MiB hashes as fast as 4 MiB and a third faster than 64 KiB. */
export const READ_CHUNK_BYTES = 1024 * 1024;

/** Entries a rejection lists by name; the rest is counted. */
export const LISTED_MAX = 20;

/** Members of one archive: 50,000 tags of a mirror with a handful of blobs each. */
export const MEMBERS_PER_ARCHIVE_MAX = 300_000;

/** One pax or GNU long-name record; names of files are shorter by far. */
export const TAR_META_BYTES_MAX = 1024 * 1024;

/**
 * An archive may expand to this many times its own bytes, besides a fixed allowance. Layers of a
 * real image compress a tenfold at most; a gzip of zeros expands a thousandfold.
 */
export const EXPANSION_FACTOR_MAX = 200;
export const EXPANSION_BYTES_FREE = 256 * 1024 * 1024;

/**
 * The same allowance for the compressed layers of one docker-archive together. Nothing of what they
 * expand to is written, so it may be more: an image with a file of zeros is legal, and 1 GiB of them
 * is unpacked and hashed in seconds.
 */
export const LAYERS_EXPANSION_BYTES_FREE = 1024 ** 3;

/** A zstd decoder takes this at once. zstd(1) refuses more unless it is told to take it. */
export const ZSTD_WINDOW_BYTES_MAX = 128 * 1024 * 1024;

/** docker save's manifest.json names images and layers, no content (containers/image: 1 MiB). */
export const DOCKER_SAVE_MANIFEST_BYTES_MAX = 4 * 1024 * 1024;
