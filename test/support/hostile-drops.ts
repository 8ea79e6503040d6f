/**
 * Drops of an attacker that tries to give one digest two meanings: documents that can be read in two
 * ways, announced with right and wrong types, with and without tags, complete and thin. They share a few
 * layers, so that they collide.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MEDIA_TYPES } from '#src/image/media-types.js';
import { blobPath, layerBytes, sha256 } from './make-image.js';
import { base64url, makeSchema1, signatureBlock, withSignatures } from './schema1.js';

export interface HostileDocument {
  readonly what: string;
  /** What it is named in a drop, whatever its bytes hash to. */
  readonly digest: string;
  readonly bytes: Buffer;
  /** Its announced type in an honest drop. */
  readonly type: string;
}

export interface HostileDrop {
  /** For people. */
  readonly what: string;
  readonly format: 'layout' | 'dir';
  readonly roots: readonly {
    readonly of: HostileDocument;
    readonly type: string;
    readonly tag?: string;
  }[];
  /** Left out: the repository may have it. */
  readonly omit: ReadonlySet<string>;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: object;
}

const TYPES = [
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.docker2,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.docker1,
  MEDIA_TYPES.docker1signed,
];
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
const FOREIGN_LAYER = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

/** Tags that the settings protect, and others. */
export const STABLE_TAGS = ['s0', 's1', 's2', 's3', 's4', 's5'];
const MOVING_TAGS = ['m0', 'm1', 'm2'];

export class HostileWorld {
  readonly documents: HostileDocument[] = [];
  /** Those that have one meaning, if they are announced as what they are. */
  readonly #honest: readonly HostileDocument[];
  readonly #blobs = new Map<string, Buffer>();
  readonly #named = new Map<string, HostileDocument>();

  constructor(readonly random: () => number) {
    for (let at = 0; at < 3; at++) this.#images(at);
    this.#indexes();
    for (let at = 0; at < 2; at++) this.#schema1(at);
    const hostile = /empty index|and index|layers twice|with Layers|lying/;
    this.#honest = this.documents.filter(({ what }) => !hostile.test(what));
    this.#forgeries();
  }

  drop(): HostileDrop {
    const format = this.#chance(0.2) ? 'dir' : 'layout';
    const count = format === 'dir' ? 1 : 1 + this.#below(2);
    const roots = Array.from({ length: count }, () => {
      const of = this.#pick(this.#chance(0.65) ? this.#honest : this.documents);
      const type = this.#chance(0.8) ? of.type : this.#pick(TYPES);
      const tags = this.#chance(0.2) ? STABLE_TAGS : MOVING_TAGS;
      return { of, type, ...(this.#chance(0.6) && { tag: this.#pick(tags) }) };
    });
    const all = [...this.#reached(roots.map(({ of }) => of))];
    const omit = new Set(this.#chance(0.3) ? all.filter(() => this.#chance(0.3)) : []);
    const said = roots.map(({ of, type, tag }) => `${of.what} as ${type} ${tag ?? '(no tag)'}`);
    return { what: `${format}: ${said.join(', ')}, without ${omit.size}`, format, roots, omit };
  }

  /** Writes it as a directory. @returns the tag that the drop's name must have */
  write(path: string, { format, roots, omit }: HostileDrop): string | undefined {
    const [first] = roots;
    if (first === undefined) throw new Error('no root');
    const reached = [...this.#reached(roots.map(({ of }) => of))].filter((each) => !omit.has(each));
    const own = new Map(roots.map(({ of }) => [of.digest, of.bytes]));
    const bytesOf = (digest: string) =>
      own.get(digest) ??
      this.#blobs.get(digest) ??
      this.#named.get(digest)?.bytes ??
      Buffer.alloc(0);
    if (format === 'dir') {
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, 'version'), 'Directory Transport Version: 1.1\n');
      for (const digest of reached.filter((each) => each !== first.of.digest)) {
        const hex = digest.slice('sha256:'.length);
        writeFileSync(join(path, hex), bytesOf(digest));
        if (this.#named.has(digest))
          writeFileSync(join(path, `${hex}.manifest.json`), bytesOf(digest));
      }
      writeFileSync(join(path, 'manifest.json'), first.of.bytes);
      return first.tag;
    }
    mkdirSync(join(path, 'blobs/sha256'), { recursive: true });
    for (const digest of reached) writeFileSync(blobPath(path, digest), bytesOf(digest));
    const manifests = roots.map(({ of: { digest, bytes }, type, tag }) => ({
      mediaType: type,
      digest,
      size: bytes.length,
      ...(tag && { annotations: { 'org.opencontainers.image.ref.name': tag } }),
    }));
    writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    return undefined;
  }

  /** Everything that these mention, however they are read. */
  #reached(roots: readonly HostileDocument[]): Set<string> {
    const reached = new Set<string>();
    const waiting = [...roots];
    for (let of = waiting.pop(); of !== undefined; of = waiting.pop()) {
      if (reached.has(of.digest) && !roots.includes(of)) continue;
      reached.add(of.digest);
      for (const digest of of.bytes.toString('utf8').match(/sha256:[0-9a-f]{64}/g) ?? []) {
        const next = this.#named.get(digest);
        if (next && !reached.has(digest)) waiting.push(next);
        if (next || this.#blobs.has(digest)) reached.add(digest);
      }
    }
    return reached;
  }

  #images(at: number): void {
    const layers = (type: string) => [this.#layer('base', type), this.#layer(`own ${at}`, type)];
    for (const docker of [false, true]) {
      const body = {
        schemaVersion: 2,
        config: this.#config(at, docker),
        layers: layers(docker ? DOCKER_LAYER : OCI_LAYER),
      };
      const type = docker ? MEDIA_TYPES.docker2 : MEDIA_TYPES.ociManifest;
      const what = `${docker ? 'docker' : 'oci'} image ${at}`;
      const { bytes } = this.#add(what, { ...body, mediaType: type }, type);
      this.#add(`bare ${what}`, body, type);
      // Read as an index it has other content, or none.
      const other = { mediaType: type, digest: sha256(bytes), size: bytes.length };
      this.#add(`${what} and empty index`, { ...body, manifests: [] }, type);
      this.#add(`${what} and index`, { ...body, manifests: [other] }, type);
      this.#add(`${what} and index, typed`, { ...body, manifests: [other], mediaType: type }, type);
      const text = JSON.stringify(body);
      const twice = JSON.stringify([this.#layer(`twice ${at}`, OCI_LAYER)]);
      this.#addText(`${what} with layers twice`, `${text.slice(0, -1)},"layers":${twice}}`, type);
      this.#addText(`${what} with Layers`, `${text.slice(0, -1)},"Layers":${twice}}`, type);
      const subject = { ...other };
      this.#add(`signature of ${what}`, { ...body, subject, layers: [] }, type);
      // An image is the layer of this one: a blob and a manifest of one digest.
      this.#add(
        `artifact on ${what}`,
        { ...body, layers: [{ ...other, mediaType: 'text/plain' }] },
        type,
      );
    }
    const foreign = this.#layer(`foreign ${at}`, FOREIGN_LAYER);
    const config = this.#config(at, true);
    const windows = { schemaVersion: 2, mediaType: MEDIA_TYPES.docker2, config, layers: [foreign] };
    this.#add(`foreign image ${at}`, windows, MEDIA_TYPES.docker2);
  }

  #indexes(): void {
    const images = this.documents.filter(({ what }) =>
      /^(bare )?(oci|docker) image \d$/.test(what),
    );
    const entry = ({ digest, bytes, type }: HostileDocument, at: number): Descriptor => {
      const platform = { os: 'linux', architecture: ['amd64', 'arm64', 's390x'][at] ?? 'riscv64' };
      return { mediaType: type, digest, size: bytes.length, platform };
    };
    for (let at = 0; at < 4; at++) {
      const docker = at % 2 === 1;
      const type = docker ? MEDIA_TYPES.dockerList : MEDIA_TYPES.ociIndex;
      const list = Array.from({ length: 2 + this.#below(2) }, () => this.#pick(images));
      const manifests = list.map(entry);
      const body = { schemaVersion: 2, manifests };
      this.#add(`index ${at}`, { ...body, mediaType: type }, type);
      this.#add(`bare index ${at}`, body, type);
      // Announces its images as what they are not, where that is left open, or not at all.
      const lying = manifests.map((each) => ({ ...each, mediaType: this.#pick(TYPES) }));
      this.#add(`lying index ${at}`, { schemaVersion: 2, mediaType: type, manifests: lying }, type);
    }
    const [first] = this.documents.filter(({ what }) => what === 'index 0');
    if (first) {
      const nested = { schemaVersion: 2, manifests: [entry(first, 0)] };
      this.#add('nested index', nested, MEDIA_TYPES.ociIndex);
    }
  }

  #schema1(at: number): void {
    const layers = ['base', `old ${at}`].map((text) => this.#layer(text, DOCKER_LAYER).digest);
    const options = { tag: String(at), indent: at === 0 ? 3 : 0 };
    const plain = makeSchema1(layers, { ...options, signed: false });
    this.#addText(`schema 1 ${at}`, plain.text, MEDIA_TYPES.docker1);
    for (const signature of ['x', 'y']) {
      const { text, payload } = makeSchema1(layers, { ...options, signed: true, signature });
      this.#addText(
        `schema 1 ${at} signed by ${signature}`,
        text,
        MEDIA_TYPES.docker1signed,
        payload,
      );
    }
  }

  /** Other layers under the digest of what is there: by what a signature says of itself. */
  #forgeries(): void {
    const evil = makeSchema1([this.#layer('evil', DOCKER_LAYER).digest], { signed: false }).payload;
    const victims = this.documents.filter(({ what }) => /^(bare )?(oci|schema|index)/.test(what));
    for (const { what, bytes, digest } of victims) {
      const text = bytes.toString('utf8');
      const victim = text.includes('"signatures"')
        ? text.slice(0, text.indexOf(',\n   "sig'))
        : text;
      // Whatever they have in common at the beginning may stay.
      let same = 0;
      while (same < victim.length && victim[same] === evil[same]) same++;
      for (const formatLength of new Set([0, same])) {
        const tail =
          victim === text ? victim.slice(formatLength) : `${victim.slice(formatLength)}\n}`;
        const block = signatureBlock({ formatLength, formatTail: base64url(tail) });
        const forged = Buffer.from(withSignatures(evil, [block]));
        const type = MEDIA_TYPES.docker1signed;
        this.documents.push({
          what: `forged ${what} (${formatLength})`,
          digest,
          bytes: forged,
          type,
        });
      }
    }
  }

  #add(what: string, document: object, type: string): HostileDocument {
    return this.#addText(what, JSON.stringify(document), type);
  }

  #addText(what: string, text: string, type: string, named = text): HostileDocument {
    const of = { what, digest: sha256(named), bytes: Buffer.from(text), type };
    this.documents.push(of);
    this.#named.set(of.digest, of);
    return of;
  }

  #config(at: number, docker: boolean): Descriptor {
    const mediaType = docker ? MEDIA_TYPES.dockerConfig : MEDIA_TYPES.ociConfig;
    return this.#blob(Buffer.from(JSON.stringify({ os: 'linux', at, rootfs: {} })), mediaType);
  }

  #layer(text: string, mediaType: string): Descriptor {
    return this.#blob(layerBytes(text), mediaType);
  }

  #blob(bytes: Buffer, mediaType: string): Descriptor {
    const digest = sha256(bytes);
    this.#blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  #below(bound: number): number {
    return Math.floor(this.random() * bound);
  }

  #chance(share: number): boolean {
    return this.random() < share;
  }

  #pick<T>(list: readonly T[]): T {
    const item = list[this.#below(list.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}
