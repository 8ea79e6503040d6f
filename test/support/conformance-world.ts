/** The images used by the conformance requests, and how they are put into a registry. */
import { createHash } from 'node:crypto';
import { layerBytes, sha256, TestContent, type TestDescriptor } from './make-image.js';
import type { TestRegistry } from './test-registry.js';
import { tool } from './tools.js';

export const NAME = 'team/app';
/** Each separator of the grammar, and more than one slash. */
export const ODD_NAME = 'a__b/c--d.e/f_g/0';
/** Has more referrers than one answer may hold. Only in dropdock: no push of it is quick. */
export const MANY_NAME = 'many';
export const LONG_TAG = `_${'aA0._-'.repeat(30)}`.slice(0, 128);
export const SBOM = 'application/vnd.example.sbom.v1';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const MANY = 80;

export interface World {
  readonly images: Readonly<Record<'oci' | 'index' | 'docker' | 'list', TestDescriptor>>;
  readonly bytes: ReadonlyMap<string, Buffer>;
  /** A blob. */
  readonly layer: { readonly digest: string; readonly bytes: Buffer };
  /** Sorted by their bytes. */
  readonly tags: readonly string[];
  /** What has `oci` as its subject: with a type of its own, with its config's, an index without. */
  readonly referrers: Readonly<Record<'typed' | 'untyped' | 'index', TestDescriptor>>;
  readonly many: { readonly subject: string; readonly digests: readonly string[] };
}

/** @returns the world, after dropdock has published it */
export async function fillDropdock(registry: TestRegistry): Promise<World> {
  const content = new TestContent();
  const platforms = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
  const both = (docker: boolean) =>
    platforms.map((platform) =>
      content.image({ platform, docker, layers: [platform.architecture] }),
    );
  const images = {
    oci: content.image(),
    index: content.index(both(false)),
    docker: content.image({ docker: true }),
    list: content.index(both(true), true),
  };
  const referrers = makeReferrers(content, images.oci);
  const { oci } = images;
  const { typed, untyped, index } = referrers;
  const tagged = {
    ...images,
    typed,
    untyped,
    'typeless-index': index,
    [LONG_TAG]: oci,
    Upper: oci,
  };
  const roots = Object.entries(tagged).map(([tag, image]) => ({ tag, image }));
  await registry.drop(NAME, content, roots);
  await registry.drop(ODD_NAME, content, [{ image: images.oci, tag: '1' }]);
  const bytes = layerBytes('layer');
  return {
    images,
    bytes: content.blobs,
    layer: { digest: sha256(bytes), bytes },
    tags: roots.map(({ tag }) => tag).sort(),
    referrers,
    many: await fillMany(registry),
  };
}

function makeReferrers(content: TestContent, subject: TestDescriptor): World['referrers'] {
  const about = (text: string) => ({ subject, annotations: { 'org.example.about': text } });
  const typed = content.image({ ...about('typed'), artifactType: SBOM });
  const untyped = content.image({ ...about('untyped'), layers: ['untyped'] });
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const index = { schemaVersion: 2, mediaType, manifests: [], ...about('index') };
  return { typed, untyped, index: content.add(JSON.stringify(index), mediaType) };
}

async function fillMany(registry: TestRegistry): Promise<World['many']> {
  const content = new TestContent();
  const subject = content.image();
  const digests = Array.from({ length: MANY }, (_none, n) => {
    // No two alike, and no two that compress to nothing.
    const text = createHash('sha512').update(String(n)).digest('hex').repeat(480);
    return content.image({ subject, artifactType: SBOM, annotations: { text } });
  });
  await registry.drop(
    MANY_NAME,
    content,
    [subject, ...digests].map((image) => ({ image })),
  );
  return { subject: subject.digest, digests: digests.map(({ digest }) => digest).sort() };
}

/** The same images by `skopeo copy` from dropdock, all but the many. Both are `host:port`. */
export async function fillBySkopeo(world: World, from: string, to: string): Promise<void> {
  const options = ['--all', '--preserve-digests', '--src-tls-verify=false'];
  const copy = (image: string) => {
    const places = [from, to].map((registry) => `docker://${registry}/${image}`);
    return tool('skopeo', 'copy', ...options, '--dest-tls-verify=false', ...places);
  };
  // Neither in their order nor against it, which some filesystems would keep.
  const half = world.tags.length >> 1;
  for (const tag of [...world.tags.slice(half), ...world.tags.slice(0, half)]) {
    await copy(`${NAME}:${tag}`);
  }
  await copy(`${ODD_NAME}:1`);
}
