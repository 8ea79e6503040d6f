/**
 * Reads the manifest.json of `docker save`, alone or next to an OCI layout: since version 25 an archive
 * contains both, and they may list different images. All listed images are published: an image that only
 * manifest.json lists is published with its own manifest if the drop contains it, otherwise with a manifest
 * that dropdock builds.
 */
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import type { Digest } from '../image/digest.js';
import { isWholeJson, mapOf, parseJson } from '../image/json.js';
import { DOCKER_SAVE_MANIFEST_BYTES_MAX, MANIFEST_BYTES_MAX } from '../image/limits.js';
import { parseImageReference } from '../image/names.js';
import type { LeftOut, StagedBlob, StagedManifest } from '../image/staged-content.js';
import { readDockerSave, type SavedEntry } from './docker-save.js';
import type { Bundle, PublishedContent } from './file-source.js';
import { isSaveManifest, SAVE_MANIFEST, savePaths } from './format.js';
import { readGraph } from './graph.js';
import { filesBelow, findHeldBlobs, type HeldBlobs, heldLeftOut, listed } from './held-blobs.js';
import type { NamedRoot } from './name-roots.js';
import { blobPlace, readLayoutImages, readLayoutIndex } from './oci-layout.js';
import { missingFile, NOTHING_READ, type SavedImage, type UnnamedReading } from './reading.js';

const BUILT_WARNING =
  'a docker-archive has no manifest, so dropdock built one: its digest is not that of the registry the image came from';

export interface ReadingOptions {
  readonly published: PublishedContent;
  /**
   * No more data will arrive: the end mark of an archive was read, or a directory has reached its timeout.
   */
  readonly isEndKnown: boolean;
}

/**
 * Reads a docker-archive without an index.
 * @throws content errors; content that may still arrive is in `missing`
 */
export function readSaveAlone(bundle: Bundle, options: ReadingOptions): UnnamedReading {
  return readSave(bundle, NOTHING_READ, options);
}

/** Reads a drop with an index. @throws content errors; content that may still arrive is in `missing` */
export function readLayout(bundle: Bundle, options: ReadingOptions): UnnamedReading {
  if (!bundle.names().includes(SAVE_MANIFEST)) return readPlainLayout(bundle, options);
  if ((bundle.size(SAVE_MANIFEST) ?? 0) > DOCKER_SAVE_MANIFEST_BYTES_MAX) {
    const layout = readPlainLayout(bundle, options);
    const why = `longer than ${DOCKER_SAVE_MANIFEST_BYTES_MAX} bytes, so it was not read`;
    return { ...layout, leftOut: [...layout.leftOut, { what: SAVE_MANIFEST, why, isHeld: true }] };
  }
  if (!isSaveManifest(bundle)) return readPlainLayout(bundle, options);
  const index = usableIndex(bundle);
  if ('descriptors' in index) {
    const layout = readLayoutImages(index.descriptors, bundle, options.published);
    const isThere = layout.manifests.length > 0 || layout.missing.length === 0;
    if (isThere || !options.isEndKnown) return readBoth(bundle, layout, options);
    return readSaveInstead(bundle, 'the drop contains none of its images', options);
  }
  const { unready, problem, why } = index;
  // The index of a layout may still arrive; without a layout there is nothing to wait for.
  const isAwaited = unready !== undefined && !options.isEndKnown && isOfLayout(bundle);
  if (isAwaited) return { ...NOTHING_READ, missing: [missingFile(unready, 'the layout', problem)] };
  return readSaveInstead(bundle, why, options);
}

function readPlainLayout(bundle: Bundle, { published }: ReadingOptions): UnnamedReading {
  const index = readLayoutIndex(bundle);
  if ('unready' in index) {
    return { ...NOTHING_READ, missing: [missingFile(index.unready, 'the layout', index.problem)] };
  }
  const layout = readLayoutImages(index.descriptors, bundle, published);
  if (layout.missing.some(({ tolerable }) => !tolerable)) return layout;
  const held = findHeldBlobs(bundle, knownIn(layout));
  return { ...layout, leftOut: [...layout.leftOut, ...heldLeftOut(held), ...imagesInside(bundle)] };
}

type UsableIndex =
  | Extract<ReturnType<typeof readLayoutIndex>, { readonly descriptors: unknown }>
  /** `unready` is the file that may still arrive. */
  | { readonly unready?: string; readonly problem?: string | undefined; readonly why: string };

function usableIndex(bundle: Bundle): UsableIndex {
  try {
    const index = readLayoutIndex(bundle);
    if ('descriptors' in index) return index;
    const { unready, problem, isEmpty } = index;
    return isEmpty
      ? { why: 'it lists no image' }
      : { unready, problem, why: `${unready} is missing or incomplete` };
  } catch (error) {
    if (error instanceof DropdockError) return { why: error.message };
    throw error;
  }
}

/** True if its manifest.json refers to blobs, as in a layout. */
function isOfLayout(bundle: Bundle): boolean {
  const bytes = bundle.read(SAVE_MANIFEST, DOCKER_SAVE_MANIFEST_BYTES_MAX);
  return bytes !== undefined && savePaths(bytes).some((path) => path.startsWith('blobs/'));
}

function readSaveInstead(bundle: Bundle, why: string, options: ReadingOptions): UnnamedReading {
  const read = readSave(bundle, NOTHING_READ, options);
  const warning = `index.json cannot be used (${why}); ${SAVE_MANIFEST} is used instead`;
  return { ...read, warnings: [...read.warnings, warning] };
}

/** The index takes precedence; images that only manifest.json lists are added. */
function readBoth(bundle: Bundle, layout: UnnamedReading, options: ReadingOptions): UnnamedReading {
  if (layout.missing.some(({ tolerable }) => !tolerable)) return layout;
  try {
    const both = readSave(bundle, layout, options);
    if (!options.isEndKnown) return both;
    // The images of the index are complete, so missing files of manifest.json must not delay them.
    const extra = both.missing.filter((each) => !layout.missing.includes(each));
    const why = `listed only in ${SAVE_MANIFEST}, and not in the drop`;
    const absent = listed(
      extra.map(({ path }) => path),
      { what: 'files', why, isHeld: true },
    );
    return { ...both, missing: layout.missing, leftOut: [...both.leftOut, ...absent] };
  } catch (error) {
    if (!(error instanceof DropdockError) || error.code !== 'json.invalid') throw error;
    const unread = { what: SAVE_MANIFEST, why: error.message, isHeld: true };
    return { ...layout, leftOut: [...layout.leftOut, unread] };
  }
}

/** @param layout the content of the index; empty if there is none */
function readSave(
  bundle: Bundle,
  layout: UnnamedReading,
  { published, isEndKnown }: ReadingOptions,
): UnnamedReading {
  const found = new FoundImages(bundle, layout, published);
  const { images, missing } = readDockerSave(bundle, {
    isEndKnown,
    isElsewhere: (entry) => found.has(entry),
  });
  const { listed: roots, manifests, blobs, leftOut, held } = found;
  const all = { listed: roots, manifests, blobs, saved: images };
  const isWhole = missing.length === 0;
  return {
    ...all,
    missing: [...layout.missing, ...missing],
    leftOut: isWhole
      ? [
          ...leftOut,
          ...heldLeftOut(withoutLayersOf(images, held)),
          ...lostTags(bundle, roots, images),
          ...lostConfigs(bundle, images, blobs),
          ...imagesInside(bundle),
        ]
      : leftOut,
    warnings: images.length > 0 ? [...layout.warnings, BUILT_WARNING] : layout.warnings,
  };
}

/** Finds the images of a manifest.json whose manifest is in the drop: in its index, or among its blobs. */
class FoundImages {
  readonly listed: NamedRoot[];
  readonly manifests: StagedManifest[];
  readonly blobs: StagedBlob[];
  readonly leftOut: LeftOut[];
  readonly #known: Set<string>;
  readonly #names: Set<string>;
  readonly #parents = new Map<Digest, Digest[]>();
  #held: HeldBlobs | undefined;

  constructor(
    readonly bundle: Bundle,
    layout: UnnamedReading,
    readonly published: PublishedContent,
  ) {
    this.listed = [...layout.listed];
    this.manifests = [...layout.manifests];
    this.blobs = [...layout.blobs];
    this.leftOut = [...layout.leftOut];
    this.#known = knownIn(layout);
    this.#names = new Set(layout.listed.flatMap(({ names }) => names.map(familiarName)));
    for (const { digest, manifest } of layout.manifests) {
      for (const child of manifest.manifests) {
        this.#parents.set(child.digest, [...(this.#parents.get(child.digest) ?? []), digest]);
      }
    }
  }

  /** Content of `blobs` that does not belong to any image found. */
  get held(): HeldBlobs {
    this.#held ??= findHeldBlobs(this.bundle, this.#known);
    const { manifests, others } = this.#held;
    const isUnknown = (digest: Digest) => !this.#known.has(digest);
    return {
      manifests: manifests.filter(({ digest }) => isUnknown(digest)),
      others: others.filter(isUnknown),
    };
  }

  /** Adds the names that the image has only in manifest.json. @returns false if it has no manifest */
  has(entry: SavedEntry): boolean {
    const listedAs = this.#listedWith(entry.configDigest);
    if (listedAs !== undefined) {
      const names = entry.names.filter((name) => !this.#names.has(familiarName(name)));
      this.#list(listedAs, names);
      return true;
    }
    return this.#adopt(entry);
  }

  /** Returns the image of the index that has this config, or the index that contains it. */
  #listedWith(configDigest: Digest): Digest | undefined {
    const own = this.manifests
      .filter(({ manifest }) => manifest.config?.digest === configDigest)
      .map(({ digest }) => digest);
    const roots = new Set(this.listed.map(({ digest }) => digest));
    const seen = new Set<Digest>();
    for (const digest of own) {
      if (roots.has(digest)) return digest;
      for (const parent of this.#parents.get(digest) ?? []) {
        if (!seen.has(parent)) own.push(parent);
        seen.add(parent);
      }
    }
    return undefined;
  }

  #adopt({ configDigest, layerCount, names }: SavedEntry): boolean {
    const candidates = this.held.manifests.filter(
      ({ manifest: { config, layers } }) =>
        config?.digest === configDigest && layers.length === layerCount,
    );
    for (const { digest, size, manifest } of candidates) {
      const { mediaType } = manifest;
      const root = { descriptor: { digest, size, mediaType }, by: SAVE_MANIFEST };
      const place = { manifest: blobPlace, blob: blobPlace };
      const graph = readGraph([root], this.bundle, place, this.published);
      if (graph.missing.length > 0) continue;
      this.manifests.push(...graph.manifests);
      this.blobs.push(...graph.blobs.filter((blob) => !this.#known.has(blob.digest)));
      this.leftOut.push(...graph.leftOut);
      for (const each of [...graph.manifests, ...graph.blobs]) this.#known.add(each.digest);
      this.#list(digest, names);
      return true;
    }
    return false;
  }

  #list(digest: Digest, names: readonly string[]): void {
    // Adds the root again, with further names.
    this.listed.push({ digest, names });
    for (const name of names) this.#names.add(familiarName(name));
  }
}

function knownIn({ manifests, blobs, leftOut }: UnnamedReading): Set<string> {
  const digests = [...manifests, ...blobs].map(({ digest }): string => digest);
  return new Set([...digests, ...leftOut.map(({ what }) => what)]);
}

/** The layers and configs of an archive may be in `blobs` without any manifest. */
function withoutLayersOf(images: readonly SavedImage[], held: HeldBlobs): HeldBlobs {
  const used = new Set(
    images.flatMap(({ configDigest, layers }) => [
      blobPlace(configDigest),
      ...layers.map(({ path }) => path),
    ]),
  );
  return { ...held, others: held.others.filter((digest) => !used.has(blobPlace(digest))) };
}

const tagsOfRepositories = mapOf(v.string(), mapOf(v.string(), v.string()));

/**
 * Returns tags that only the `repositories` file lists. It is from docker before 1.10, and no tool reads it
 * any more.
 */
function lostTags(
  bundle: Bundle,
  roots: readonly NamedRoot[],
  images: readonly SavedImage[],
): LeftOut[] {
  const bytes = bundle.read('repositories', DOCKER_SAVE_MANIFEST_BYTES_MAX);
  if (bytes === undefined || !isWholeJson(bytes)) return [];
  const parsed = v.safeParse(tagsOfRepositories, JSON.parse(bytes.toString('utf8')));
  if (!parsed.success) return [];
  const given = new Set([...roots, ...images].flatMap(({ names }) => names.map(familiarName)));
  const tags = Object.entries(parsed.output).flatMap(([repository, named]) =>
    Object.keys(named).map((tag) => `${repository}:${tag}`),
  );
  const why = 'a tag that only the repositories file lists';
  return listed(
    tags.filter((name) => !given.has(familiarName(name))),
    { what: 'tags', why, isHeld: true },
  );
}

const imageConfig = v.object({ rootfs: v.object({ diff_ids: v.array(v.string()) }) });

/** Returns configs of images that manifest.json does not list. */
function lostConfigs(
  bundle: Bundle,
  images: readonly SavedImage[],
  blobs: readonly StagedBlob[],
): LeftOut[] {
  const used = new Set([...images.map(({ configDigest }) => configDigest), ...digestsOf(blobs)]);
  const paths = filesBelow(bundle, '').filter((path) => {
    const hex = /^(?:sha256:)?([0-9a-f]{64})(?:\.json)?$/.exec(path)?.[1];
    if (hex === undefined || used.has(`sha256:${hex}` as Digest)) return false;
    return isConfig(bundle, path);
  });
  const why = `an image that ${SAVE_MANIFEST} does not list`;
  return listed(paths, { what: 'images', why, isHeld: true });
}

const digestsOf = (blobs: readonly StagedBlob[]) => blobs.map(({ digest }) => digest);

function isConfig(bundle: Bundle, path: string): boolean {
  if ((bundle.size(path) ?? 0) > MANIFEST_BYTES_MAX) return false;
  const bytes = bundle.read(path, MANIFEST_BYTES_MAX);
  if (bytes?.[0] !== 0x7b) return false;
  try {
    parseJson(bytes, path, imageConfig, MANIFEST_BYTES_MAX);
    return true;
  } catch (error) {
    if (error instanceof DropdockError) return false;
    throw error;
  }
}

/** Finds images in subdirectories of an archive that the image at its top does not refer to. */
export function imagesInside(bundle: Bundle): LeftOut[] {
  const directories = bundle.names().flatMap((name) => {
    const path = /^(.+)\/(?:oci-layout|index\.json|manifest\.json)$/.exec(name)?.[1];
    return path === undefined || path.startsWith('blobs/') ? [] : [path];
  });
  const why = 'another image inside the drop; drop it by itself';
  return listed([...new Set(directories)], { what: 'directories', why, isHeld: true });
}

/** Removes Docker Hub and its `library/` from the name, as people write it. */
function familiarName(name: string): string {
  const { repository = '', tag = '' } = parseImageReference(name);
  return `${repository.replace(/^(?:index\.)?docker\.io\//, '').replace(/^library\//, '')}:${tag}`;
}
