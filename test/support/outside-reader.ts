/**
 * Sees only what a consumer sees: follows web/<id> and app/<id>.json, reads everything they lead to,
 * checks every digest. Throws on anything but one complete snapshot.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export interface SeenRepository {
  readonly snapshot: string;
  /** Tag to the digest of its manifest (OCI before its Docker form). */
  readonly tags: Readonly<Record<string, string>>;
  readonly redirect: RedirectDocument;
  /** Every digest served. */
  readonly digests: ReadonlySet<string>;
}

export interface RedirectDocument {
  readonly type: string;
  readonly version: number;
  readonly repository: string;
  readonly 'repo-registry-id': string;
  readonly url: string;
  readonly protected: boolean;
  readonly schema2_data: readonly string[];
  readonly manifest_list_data: readonly string[];
  readonly manifest_list_amd64_tags: Readonly<Record<string, readonly [string, number]>>;
}

class Violation extends Error {}

const KINDS = ['oci-index', 'oci', 'list', '2', '1'];

/** Undefined before the first publish. @throws when anything is half there */
export function readRepository(published: string, id: string): SeenRepository | undefined {
  // In this order: the first flip may come between two looks, and app/ is placed after it.
  const app = resolveLink(join(published, 'app', `${id}.json`));
  const web = resolveLink(join(published, 'web', id));
  // app/ is placed after the first flip; it may never lead anywhere without a pivot.
  if (web === undefined) {
    if (app !== undefined) throw new Violation(`app/${id}.json leads to ${app}, web/${id} nowhere`);
    return undefined;
  }
  if (app !== undefined) readSnapshot(dirname(app), id);
  return readSnapshot(web, id);
}

/** Reads every directory that has a snapshot's name, current or not (I2). @returns their names */
export function readSnapshots(published: string, id: string): string[] {
  const place = join(published, 'master', id);
  const names = existsSync(place) ? readdirSync(place) : [];
  const snapshots = names.filter((name) => /^\d{8}T\d{6}\.\d{3}Z$/.test(name)).sort();
  for (const name of snapshots) readSnapshot(join(place, name), id);
  return snapshots;
}

/** 'old' or 'new' and nothing else. */
export function oldOrNew(
  published: string,
  id: string,
  old: SeenRepository | undefined,
  isNew: (seen: SeenRepository) => boolean,
): 'old' | 'new' {
  const seen = readRepository(published, id);
  if (seen && isNew(seen)) return 'new';
  if (seen?.snapshot === old?.snapshot) return 'old';
  throw new Violation(`neither old nor new: ${seen?.snapshot}`);
}

function resolveLink(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') {
      if (isDangling(path)) throw new Violation(`${path} dangles`);
      return undefined;
    }
    throw error;
  }
}

function isDangling(path: string): boolean {
  return readdirSync(dirname(path)).includes(basename(path)) && !existsSync(path);
}

function readSnapshot(root: string, id: string): SeenRepository {
  const redirect = JSON.parse(readFileSync(join(root, `${id}.json`), 'utf8')) as RedirectDocument;
  if (redirect.repository !== id) throw new Violation(`redirect of ${redirect.repository}`);
  const list = JSON.parse(readFileSync(join(root, 'tags', 'list'), 'utf8')) as { tags: string[] };
  const digests = new Set<string>();
  const tags: Record<string, string> = {};
  for (const tag of list.tags) {
    const kind = KINDS.find((each) => existsSync(join(root, 'manifests', each, tag)));
    if (kind === undefined) throw new Violation(`tag ${tag} has no manifest`);
    const bytes = readFileSync(join(root, 'manifests', kind, tag));
    tags[tag] = digestOf(bytes);
    checkManifest(root, digestOf(bytes), digests);
  }
  for (const kind of readdirSync(join(root, 'manifests'))) {
    for (const name of readdirSync(join(root, 'manifests', kind))) {
      if (name.startsWith('sha256:')) checkManifest(root, name, digests);
      // Signed schema 1 is named by what it was before it was signed.
      else if (kind !== '1') checkTag(root, kind, name);
    }
  }
  for (const name of redirect.schema2_data) mustExist(join(root, 'manifests', '2', name));
  for (const name of redirect.manifest_list_data) mustExist(join(root, 'manifests', 'list', name));
  for (const [digest] of Object.values(redirect.manifest_list_amd64_tags)) {
    mustExist(join(root, 'manifests', '2', digest));
  }
  return { snapshot: basename(root), tags, redirect, digests };
}

/** Every form of a tag is a manifest that can be had by its digest as well. */
function checkTag(root: string, kind: string, tag: string): void {
  const digest = digestOf(readFileSync(join(root, 'manifests', kind, tag)));
  if (tag.startsWith('sha512:') || existsSync(join(root, 'manifests', kind, digest))) return;
  throw new Violation(`manifests/${kind}/${tag} holds no manifest: ${digest}`);
}

function checkManifest(root: string, digest: string, seen: Set<string>): void {
  if (seen.has(digest)) return;
  const kind = KINDS.find((each) => existsSync(join(root, 'manifests', each, digest)));
  if (kind === undefined) throw new Violation(`manifest ${digest} is not there`);
  const bytes = readFileSync(join(root, 'manifests', kind, digest));
  if (digestOf(bytes) !== digest) throw new Violation(`manifest ${digest} holds other bytes`);
  seen.add(digest);
  const manifest = JSON.parse(bytes.toString('utf8')) as {
    config?: { digest: string };
    layers?: { digest: string }[];
    manifests?: { digest: string }[];
  };
  for (const blob of manifest.config ? [manifest.config, ...(manifest.layers ?? [])] : []) {
    checkBlob(root, blob.digest, seen);
  }
  for (const child of manifest.manifests ?? []) {
    const isThere = KINDS.some((each) => existsSync(join(root, 'manifests', each, child.digest)));
    if (isThere) checkManifest(root, child.digest, seen);
  }
}

function checkBlob(root: string, digest: string, seen: Set<string>): void {
  if (seen.has(digest)) return;
  const bytes = readFileSync(join(root, 'blobs', digest));
  if (digestOf(bytes) !== digest) throw new Violation(`blob ${digest} holds other bytes`);
  seen.add(digest);
}

function mustExist(path: string): void {
  if (!existsSync(path)) throw new Violation(`${path} is listed and not there`);
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
