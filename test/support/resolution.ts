/**
 * Resolves a tag completely, byte for byte, as a client does: every form of the manifest, the entries of
 * indexes, every blob. It uses only what is served and has no knowledge of dropdock.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SnapshotLookup } from '#src/repository/lookup.js';
import { sha256 } from './make-image.js';
import type { S3Double } from './s3-double.js';
import { payloadAsClientsCut } from './schema1.js';

export interface FoundManifest {
  readonly kind: string;
  readonly bytes: Buffer;
}

export interface Served {
  tags(): readonly string[];
  manifests(reference: string): readonly FoundManifest[];
  blob(digest: string): Buffer | undefined;
}

/** What was found, by its name and place: `form oci`, `manifest sha256:…`, `blob sha256:…`. */
export type Resolution = ReadonlyMap<string, string>;

const KINDS = ['oci', 'oci-index', '2', 'list', '1'];

/** What lies behind the pivot, as a web server sends it. */
export function servedTree(published: string, id: string): Served {
  const root = join(published, 'web', id);
  return {
    tags: () =>
      existsSync(root) ? JSON.parse(readFileSync(join(root, 'tags/list'), 'utf8')).tags : [],
    manifests: (reference) =>
      KINDS.flatMap((kind) => {
        const path = join(root, 'manifests', kind, reference);
        return existsSync(path) ? [{ kind, bytes: readFileSync(path) }] : [];
      }),
    blob: (digest) => {
      const path = join(root, 'blobs', digest);
      return existsSync(path) ? readFileSync(path) : undefined;
    },
  };
}

/** The same on an object store. */
export function servedObjects(double: S3Double, id: string): Served {
  const read = (key: string) => double.read(`some/where/${key}`);
  const pointer = read(`repos/${id}/current`);
  const snapshot = pointer && JSON.parse(pointer.toString('utf8')).snapshot;
  const text: Buffer | undefined = snapshot && read(`repos/${id}/${snapshot}.json`);
  const lookup = text ? new SnapshotLookup(text, 'the snapshot') : undefined;
  return {
    tags: () => (lookup ? JSON.parse(lookup.tagsList()).tags : []),
    manifests: (reference) =>
      (lookup?.forms(reference as never) ?? []).flatMap((form) => {
        if ('text' in form) return [{ kind: form.kind, bytes: Buffer.from(form.text) }];
        const bytes = read(`manifests/${form.stored}`);
        return bytes ? [{ kind: form.kind, bytes }] : [];
      }),
    blob: (digest) =>
      lookup?.blobSize(digest as never) === undefined ? undefined : read(`blobs/${digest}`),
  };
}

/** @throws what a client would: bytes that are not their digest's, a layer that is not there */
export function resolve(served: Served, tag: string): Resolution {
  const found = new Map<string, string>();
  const forms = served.manifests(tag);
  if (forms.length === 0) throw new Error(`${tag} leads nowhere`);
  for (const { kind, bytes } of forms) {
    const digest = digestAsClientsCompute(bytes);
    found.set(`form ${kind}`, `${digest} ${sha256(bytes)}`);
    if (!visit(served, digest, found)) throw new Error(`${tag} is not there as ${digest}`);
  }
  return found;
}

function digestAsClientsCompute(bytes: Buffer): string {
  return sha256(JSON.parse(bytes.toString('utf8')).fsLayers ? payloadAsClientsCut(bytes) : bytes);
}

/** @returns false for one that is not there, which an index may list */
function visit(served: Served, digest: string, found: Map<string, string>): boolean {
  const forms = served.manifests(digest);
  if (forms.length > 1) throw new Error(`${digest} is there as ${forms.map(({ kind }) => kind)}`);
  const [form] = forms;
  if (form === undefined) return false;
  const { kind, bytes } = form;
  const computed = digestAsClientsCompute(bytes);
  if (computed !== digest) throw new Error(`${digest} is served, its bytes are ${computed}`);
  found.set(`manifest ${digest}`, `${kind} ${sha256(bytes)}`);
  const { config, layers = [], fsLayers = [], manifests = [] } = JSON.parse(bytes.toString('utf8'));
  for (const { digest: blob, blobSum, mediaType = '' } of [
    ...(config ? [config] : []),
    ...layers,
    ...fsLayers,
  ]) {
    const name = blob ?? blobSum;
    const content = served.blob(name);
    if (content === undefined && !mediaType.includes('.foreign.')) {
      throw new Error(`the layer ${name} of ${digest} is lost`);
    }
    if (content && sha256(content) !== name) throw new Error(`${name} has other bytes`);
    if (content) found.set(`blob ${name}`, name);
  }
  for (const child of manifests) visit(served, child.digest, found);
  return true;
}

/**
 * Says how what a tag resolves to has changed, where it may not have. More may have come: an image that an
 * index lists, a layer that was left out. Then the Docker form of an OCI index, which lists the images that
 * are there, is made again, with all of what it had.
 */
export function changeOf(before: Resolution, after: Resolution, served: Served, tag: string) {
  const isConverted = before.has('form oci-index');
  for (const [name, what] of before) {
    const now = after.get(name);
    if (now === what) continue;
    const isForm = name === 'form list' && isConverted && now !== undefined;
    const wasForm = isConverted && name === `manifest ${before.get('form list')?.split(' ')[0]}`;
    if (wasForm && after.get('form list') !== before.get('form list')) continue;
    if (isForm && after.size > before.size) continue;
    return `${tag}: ${name} was ${what}, is ${now ?? 'gone'}`;
  }
  const forms = served.manifests(tag).length;
  const had = [...before.keys()].filter((name) => name.startsWith('form ')).length;
  return forms < had ? `${tag}: has fewer forms` : undefined;
}
