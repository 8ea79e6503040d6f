/** What every reader rejects, with the error code (design.md 7). */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { layerBytes, sha256 } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { tempDir } from '../support/temp-dir.js';
import { AMD64, type DropFixture, LAYER, MANIFEST, readDrop } from './drop-fixture.js';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const READ_DROP = fileURLToPath(new URL('./read-drop.js', import.meta.url));

export function describeRefusals(drop: DropFixture): void {
  refusesContent(drop);
  refusesSpecialFiles(drop);
  refusesDocuments(drop);
}

function refusesContent(drop: DropFixture): void {
  const { format } = drop;
  describe('rejects content', () => {
    it('with size.mismatch: a layer longer than its descriptor says', () => {
      drop.write(drop.content.image({ layers: ['one'] }));
      writeFileSync(drop.at(drop.blobOf('one')), `${layerBytes('one')} and more`);
      const { code, details } = refusal(() => readDrop(drop.path, '1.0'));
      expect(code).to.equal('size.mismatch');
      expect(details).to.include({
        path: drop.blobOf('one'),
        digest: sha256(layerBytes('one')),
        expected: layerBytes('one').length,
      });
    });

    it('with digest.mismatch: a manifest of the right length with other bytes', () => {
      const child = drop.content.image({ platform: AMD64 });
      drop.write(drop.content.index([child]));
      const bytes = String(drop.content.blobs.get(child.digest)).replace('amd64', 'amd46');
      const swapped = bytes.replace('"schemaVersion":2', '"schemaVersion":3');
      writeFileSync(drop.at(format.manifest(child.digest)), swapped);
      const { code, details } = refusal(() => readDrop(drop.path, '1.0'));
      expect(code).to.equal('digest.mismatch');
      expect(details.path).to.equal(format.manifest(child.digest));
      expect(details.found).to.equal(sha256(swapped));
    });

    it('with digest.mismatch: descriptor data that differs from its digest', () => {
      const inline = { mediaType: LAYER, digest: sha256('{}'), size: 2, data: 'W10=' };
      drop.writeDocument({ config: inline, layers: [] });
      expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('digest.mismatch');
    });
  });
}

function refusesSpecialFiles(drop: DropFixture): void {
  const { format } = drop;
  describe('rejects special files', () => {
    const kinds: readonly [string, string, (name: string) => unknown][] = [
      ['a link', 'path.outside', (name) => symlinkSync('/etc/passwd', name)],
      ['a link to nothing', 'path.outside', (name) => symlinkSync('/does/not/exist', name)],
      ['a directory', 'file.type', (name) => mkdirSync(name)],
      ['a device', 'file.type', (name) => execFileSync('mknod', [name, 'c', '1', '3'])],
    ];
    for (const [what, code, make] of kinds) {
      for (const part of ['a layer', format.entry]) {
        it(`${what} for ${part}: ${code}`, function () {
          if (what === 'a device' && process.getuid?.() !== 0) return this.skip();
          drop.write(drop.content.image({ layers: ['one'] }));
          const name = part === 'a layer' ? drop.blobOf('one') : format.entry;
          rmSync(drop.at(name));
          make(drop.at(name));
          const error = refusal(() => readDrop(drop.path, '1.0'));
          expect(error.code).to.equal(code);
          expect(error.details.path).to.equal(name);
        });
      }
    }

    for (const part of ['a layer', format.entry]) {
      it(`a FIFO for ${part} without blocking on it: file.type`, () => {
        drop.write(drop.content.image({ layers: ['one'] }));
        const name = drop.at(part === 'a layer' ? drop.blobOf('one') : format.entry);
        rmSync(name);
        execFileSync('mkfifo', [name]);
        // Whoever waits there waits in the kernel, where no time limit of a test reaches.
        const given = [READ_DROP, drop.path];
        const limit = {
          timeout: 10_000,
          killSignal: 'SIGKILL' as const,
          encoding: 'utf8' as const,
        };
        const { stdout, signal } = spawnSync(process.execPath, given, limit);
        expect(signal).to.equal(null);
        expect(stdout.trim()).to.equal('file.type');
      });
    }

    it('a socket for a layer: file.type', async () => {
      drop.write(drop.content.image({ layers: ['one'] }));
      const name = drop.at(drop.blobOf('one'));
      rmSync(name);
      // The path of a socket must be short, so its directory gets a short name.
      const short = join(tempDir(), 's');
      symlinkSync(dirname(name), short);
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(join(short, basename(name)), resolve));
      try {
        expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('file.type');
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
    });
  });
}

function refusesDocuments(drop: DropFixture): void {
  describe('rejects documents', () => {
    const hex = 'a'.repeat(64);
    const descriptor = { mediaType: LAYER, digest: `sha256:${hex}`, size: 1 };
    const one = (change: object) => ({
      config: descriptor,
      layers: [{ ...descriptor, ...change }],
    });
    const cases: readonly [string, string, object][] = [
      ['digest.invalid', 'a digest that leads elsewhere', one({ digest: 'sha256:../../../etc' })],
      ['digest.invalid', 'a digest in capitals', one({ digest: `sha256:${hex.toUpperCase()}` })],
      ['digest.invalid', 'a digest that is too short', one({ digest: 'sha256:abc' })],
      ['digest.invalid', 'an algorithm nobody knows', one({ digest: `blake3:${hex}` })],
      ['json.invalid', 'a size below nothing', one({ size: -1 })],
      ['json.invalid', 'a size that is no whole number', one({ size: 1.5 })],
      ['json.invalid', 'a size in quotes', one({ size: '1' })],
      ['json.invalid', 'a descriptor without a type', one({ mediaType: '' })],
      ['json.invalid', 'layers that are no list', { config: descriptor, layers: 'all' }],
      ['json.invalid', 'an image without a config', { layers: [] }],
      ['json.invalid', 'annotations that are no text', { ...one({}), annotations: { a: 1 } }],
    ];
    for (const [code, what, document] of cases) {
      it(`${what}: ${code}`, () => {
        drop.writeDocument(document, MANIFEST);
        expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal(code);
      });
    }

    it('a manifest over 4 MiB: json.too-large', () => {
      const child = drop.content.image({ platform: AMD64 });
      drop.write(drop.content.index([{ ...child, size: 4 * 1024 * 1024 + 1 }]));
      expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('json.too-large');
    });

    it('a document that is nested too deeply: json.too-deep', () => {
      drop.writeDocument({ annotations: JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`) });
      expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('json.too-deep');
    });

    it('a child whose media type contradicts its descriptor: manifest.type-mismatch', () => {
      const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
      drop.write(drop.content.index([{ ...drop.content.image({ platform: AMD64 }), mediaType }]));
      expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('manifest.type-mismatch');
    });

    it('an index that contains itself: index.cycle', () => {
      const self = { mediaType: INDEX, digest: `sha256:${hex}`, size: 400 };
      const text = JSON.stringify({ schemaVersion: 2, manifests: [self] });
      drop.content.blobs.set(self.digest, Buffer.from(text.padEnd(self.size)));
      drop.write(drop.content.index([self]));
      expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('index.cycle');
    });

    it('indexes nested more than 8 deep, and accepts 8 levels: index.too-deep', () => {
      const nest = (levels: number) => {
        let inner = drop.content.image();
        for (let level = 0; level < levels; level++) inner = drop.content.index([inner]);
        return inner;
      };
      drop.write(nest(7));
      expect(readDrop(drop.path, '1.0').content.manifests).to.have.length(8);
      drop.write(nest(9));
      expect(refusal(() => readDrop(drop.path, '1.0')).code).to.equal('index.too-deep');
    });
  });
}
