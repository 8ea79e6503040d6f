/**
 * Goal: between two scans of Crane, which only knows the state of its last scan, clients pull the current
 * content through the shipped Apache configuration. Method: a Crane that scans only on request, and a
 * client that behaves like the Docker engine; and dropdock's own endpoint instead of Apache, for the same
 * redirects.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { crane } from '../support/crane-server.js';
import { editRepository } from '../support/edit-repository.js';
import { ENGINES, type Pulled, pull } from '../support/engine.js';
import { layerBytes, sha256, TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { needTools } from '../support/tools.js';
import { apache, freePort, type WebServer } from '../support/web-servers.js';

const NEVER_MS = 3_600_000;

/** What a tag names, by its last layer. */
const KINDS: Readonly<Record<string, (content: TestContent, layer: string) => TestDescriptor>> = {
  'Docker image': (content, layer) => content.image({ docker: true, layers: ['base', layer] }),
  'Docker list': (content, layer) => content.index(both(content, layer, true), true),
  'OCI image': (content, layer) => content.image({ layers: ['base', layer] }),
  'OCI index': (content, layer) => content.index(both(content, layer, false)),
};

function both(content: TestContent, layer: string, docker: boolean): TestDescriptor[] {
  return ['arm64', 'amd64'].map((architecture) =>
    content.image({
      docker,
      layers: [architecture === 'amd64' ? layer : `${layer} on arm`],
      platform: { os: 'linux', architecture },
    }),
  );
}

for (const files of ['Apache', 'dropdock']) {
  describe(`Crane before ${files}, between two of its scans`, function () {
    this.timeout(60_000);
    let registry: TestRegistry;
    let server: WebServer | undefined;
    let craneServer: WebServer | undefined;
    let dropped = 0;

    before(function () {
      if (files === 'Apache') needTools(this, 'apache2');
    });
    afterEach(async () => {
      await craneServer?.stop();
      await server?.stop();
      await registry.close();
    });
    after(removeTempDirs);

    async function open(oci: string): Promise<void> {
      const root = tempDir();
      chmodSync(root, 0o755);
      mkdirSync(join(root, 'published'), { recursive: true });
      server = files === 'Apache' ? await apache(join(root, 'published')) : undefined;
      const port = await freePort();
      const base = server?.url ?? `http://127.0.0.1:${port}`;
      const yaml = `redirect: {oci: ${oci}, url: "${base}/pulp/docker/v2/{id}/"}`;
      const listen = server ? {} : { listen: { host: '127.0.0.1', port } };
      registry = await TestRegistry.open(root, { yaml, ...listen });
    }
    async function drop(tag: string, kind: string): Promise<string> {
      const content = new TestContent();
      const layer = `layer ${dropped++}`;
      const image = KINDS[kind]?.(content, layer);
      if (image === undefined) throw new Error(kind);
      await registry.drop('team/app', content, [{ image, tag }]);
      return sha256(layerBytes(layer));
    }
    /** As often as it is called, Crane has just looked. */
    async function look(): Promise<void> {
      await craneServer?.stop();
      craneServer = await crane(join(registry.root, 'published/app'), NEVER_MS);
    }
    const pulled = async (tag: string, engine: string): Promise<Pulled> =>
      pull(craneServer?.url ?? '', 'team/app', tag, ENGINES[engine] ?? []);
    const failure = async (tag: string, engine: string) =>
      pulled(tag, engine).then(
        () => 'pulled',
        (error: Error) => error.message,
      );

    for (const oci of ['convert', 'passthrough']) {
      const engines = Object.keys(ENGINES).filter((each) => each !== 'no lists');

      it(`a moved tag is served at once, in any form, with redirect.oci: ${oci}`, async () => {
        await open(oci);
        for (const was of Object.keys(KINDS)) await drop(was.replace(' ', '-'), was);
        await look();
        for (const was of Object.keys(KINDS)) {
          const tag = was.replace(' ', '-');
          for (const is of [was, ...Object.keys(KINDS)]) {
            const layer = await drop(tag, is);
            for (const engine of engines) {
              const { layers } = await pulled(tag, engine);
              expect(layers.at(-1), `${engine}: ${was}, now ${is}`).to.equal(layer);
            }
          }
        }
      });

      it(`a new tag of a known repository is served at once, as after a scan, with redirect.oci: ${oci}`, async () => {
        await open(oci);
        await drop('old', 'Docker image');
        await look();
        const types = new Map<string, string>();
        for (const kind of Object.keys(KINDS)) {
          const tag = `new-${kind.replace(' ', '-')}`;
          const layer = await drop(tag, kind);
          for (const engine of engines) {
            const { layers, type } = await pulled(tag, engine);
            expect(layers.at(-1), `${engine}: ${kind}`).to.equal(layer);
            types.set(`${engine} ${tag}`, type);
          }
        }
        await look();
        for (const [key, before] of types) {
          const [engine = '', tag = ''] = key.split(' ');
          expect((await pulled(tag, engine)).type, key).to.equal(before);
        }
      });
    }

    it('a client without list support pulls the image Crane knew, and a moved image at once', async () => {
      await open('convert');
      await drop('image', 'Docker image');
      const list = await drop('list', 'Docker list');
      await look();
      const layer = await drop('image', 'Docker image');
      expect((await pulled('image', 'no lists')).layers.at(-1)).to.equal(layer);
      await drop('list', 'Docker list');
      expect((await pulled('list', 'no lists')).layers.at(-1)).to.equal(list);
    });

    it('a removed repository and a missing tag return a readable error', async () => {
      await open('convert');
      await drop('1', 'Docker image');
      await look();
      expect(await failure('none', 'docker')).to.match(/^manifest unknown: /);
      const { services } = registry;
      await editRepository(services, 'team/app', { kind: 'remove' });
      for (const engine of Object.keys(ENGINES)) {
        expect(await failure('1', engine), engine).to.match(/^manifest unknown: /);
      }
      await look();
      expect(await failure('1', 'docker')).to.match(/^manifest unknown: /);
      expect(
        await pull(craneServer?.url ?? '', 'absent', '1', ENGINES.docker ?? []).catch(
          (error: Error) => error.message,
        ),
      ).to.equal('404: Not Found');
    });
  });
}
