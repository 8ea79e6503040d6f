/**
 * skopeo's `dir:` directories, as written by `skopeo copy` and `skopeo sync --dest dir`: a `version` file,
 * `manifest.json`, blobs named by their hex digest, and `<hex>.manifest.json` for each image of a list
 * (containers/image, directory transport). The format supports only sha256.
 */
import { DropdockError } from '../errors.js';
import { digestHex } from '../image/digest.js';
import { isWholeJson } from '../image/json.js';
import { MANIFEST_BYTES_MAX } from '../image/limits.js';
import { parseManifest } from '../image/manifest.js';
import { manifestDigest } from '../image/manifest-digest.js';
import type { LeftOut } from '../image/staged-content.js';
import type { Bundle, PublishedContent } from './file-source.js';
import { readGraph } from './graph.js';
import { missingFile, NOTHING_READ, type UnnamedReading } from './reading.js';

const SCHEMA1_WARNING = 'Docker schema 1: current clients (containerd 2, Docker) refuse to pull it';

/** @throws content errors; content that may still arrive is in `missing` */
export function readSkopeoDir(bundle: Bundle, published: PublishedContent): UnnamedReading {
  const unready = (path: string): UnnamedReading => ({
    ...NOTHING_READ,
    missing: [missingFile(path, 'the dir: format')],
  });
  const version = bundle.read('version', 1024);
  if (version === undefined || version.length === 0) return unready('version');
  if (!/^Directory Transport Version: 1\./.test(version.toString('latin1'))) {
    throw new DropdockError('format.unknown', 'The version file has an unknown dir: format.', {
      path: 'version',
    });
  }
  const length = bundle.size('manifest.json') ?? 0;
  if (length > MANIFEST_BYTES_MAX) {
    throw new DropdockError('json.too-large', 'manifest.json is larger than any client accepts.', {
      path: 'manifest.json',
    });
  }
  // The file is written in place and has no descriptor: an incomplete one is still being written.
  const bytes = bundle.read('manifest.json', MANIFEST_BYTES_MAX);
  if (bytes === undefined || !isWholeJson(bytes)) return unready('manifest.json');

  const { mediaType, kind } = parseManifest(bytes, undefined, 'manifest.json');
  const digest = manifestDigest(bytes, kind, 'sha256', 'manifest.json');
  const graph = readGraph(
    [{ descriptor: { mediaType, digest, size: bytes.length }, by: 'the dir: format' }],
    bundle,
    {
      manifest: (wantedDigest) =>
        wantedDigest === digest ? 'manifest.json' : `${digestHex(wantedDigest)}.manifest.json`,
      blob: digestHex,
    },
    published,
  );
  return {
    ...NOTHING_READ,
    ...graph,
    listed: [{ digest, names: [] }],
    leftOut: [...graph.leftOut, ...signaturesIn(bundle)],
    warnings: kind === '1' ? [SCHEMA1_WARNING] : [],
  };
}

/** Returns the signatures that `skopeo copy` adds; no registry API serves them. */
function signaturesIn(bundle: Bundle): LeftOut[] {
  return bundle
    .names()
    .filter((name) => /^signature-\d+$/.test(name))
    .map((what) => ({ what, why: 'a signature of its own format, not published', isHeld: true }));
}
