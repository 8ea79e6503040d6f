/** Decompression is as strict as the strictest client, so that every client can read what it accepts. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { DropdockError } from '#src/errors.js';
import { decompress } from '#src/formats/decompress.js';
import { refusalOf } from '../support/refusal.js';
import { hasTools } from '../support/tools.js';
import { skippableFrame, zstdFrame, zstdRepeated } from '../support/zstd-frames.js';

type Compression = Parameters<typeof decompress>[1];

function pieces(bytes: Buffer, size: number): Buffer[] {
  const all: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) all.push(bytes.subarray(at, at + size));
  return all;
}

async function unpack(bytes: Buffer, compression: Compression, size = 1 << 20): Promise<Buffer> {
  const found: Buffer[] = [];
  await decompress(pieces(bytes, size), compression, (piece) => found.push(Buffer.from(piece)));
  return Buffer.concat(found);
}

const CONTENT = Buffer.concat([Buffer.alloc(3000, 'text '), randomBytes(2000)]);
const SMALL = Buffer.from('a few bytes, a few bytes, a few bytes');

const makers: Record<string, [Compression, (content: Buffer) => Buffer]> = {
  gzip: ['gzip', (content) => gzipSync(content)],
  'zstd with a checksum': ['zstd', (content) => zstdFrame(content)],
  'zstd with a length': ['zstd', (content) => zstdFrame(content, { contentBytes: content.length })],
  ...(hasTools('zstd') || process.env.CI
    ? {
        'zstd(1)': [
          'zstd',
          (content: Buffer) => execFileSync('zstd', ['-q', '-c', '-3'], { input: content }),
        ],
      }
    : {}),
};

for (const [name, [compression, make]] of Object.entries(makers)) {
  describe(`decompress: ${name}`, () => {
    const packed = make(CONTENT);

    for (const size of [1, 7, 1000, 1 << 20]) {
      it(`returns all bytes, given input in pieces of ${size}`, async () => {
        expect((await unpack(packed, compression, size)).equals(CONTENT)).to.equal(true);
        expect((await unpack(make(Buffer.alloc(0)), compression, size)).length).to.equal(0);
      });

      it(`reads several members as one stream, in pieces of ${size}`, async () => {
        const both = await unpack(Buffer.concat([packed, make(SMALL)]), compression, size);
        expect(both.equals(Buffer.concat([CONTENT, SMALL]))).to.equal(true);
      });

      for (const [what, rest] of [
        ['a zero byte', Buffer.alloc(1)],
        ['many zero bytes', Buffer.alloc(5000)],
        ['text', Buffer.from('something else')],
        ['a member behind zero bytes', Buffer.concat([Buffer.alloc(9), make(SMALL)])],
      ] as const) {
        it(`rejects ${what} after the end, in pieces of ${size}`, async () => {
          const error = await refusalOf(unpack(Buffer.concat([packed, rest]), compression, size));
          expect(error.code).to.be.oneOf(['archive.damaged', 'archive.truncated']);
        });
      }
    }

    it('reports every truncated length as too short', async () => {
      const short = make(SMALL);
      for (let length = compression === 'zstd' ? 1 : 0; length < short.length; length++) {
        const { code } = await refusalOf(unpack(short.subarray(0, length), compression, 5));
        expect(code, `${length} of ${short.length} bytes`).to.equal('archive.truncated');
      }
    });

    it('detects every flipped bit that changes the content or a checksum', async () => {
      const short = make(SMALL);
      for (let bit = 0; bit < short.length * 8; bit++) {
        const spoiled = Buffer.from(short);
        spoiled[bit >> 3] = (spoiled[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        try {
          const found = await unpack(spoiled, compression, 1 << 20);
          expect(found.equals(SMALL), `bit ${bit}`).to.equal(true);
          // The last four bytes of zstd, the last eight of gzip: CRC and length.
          const trailer = compression === 'gzip' ? 8 : 4;
          expect(bit >> 3, `bit ${bit}`).to.be.lessThan(short.length - trailer);
        } catch (error) {
          if (!(error instanceof DropdockError)) throw error;
        }
      }
    });

    it('rethrows an error of its consumer', async () => {
      const stop = new Error('enough');
      let thrown: unknown;
      try {
        await decompress([packed], compression, () => {
          throw stop;
        });
      } catch (error) {
        thrown = error;
      }
      expect(thrown).to.equal(stop);
    });
  });
}

describe('decompress: zstd', () => {
  it('skips skippable frames at any position', async () => {
    const skip = skippableFrame(randomBytes(700));
    const frame = zstdFrame(SMALL, { checksum: false });
    const bytes = Buffer.concat([skip, frame, skippableFrame(Buffer.alloc(0)), frame, skip]);
    for (const size of [1, 64, 10_000]) {
      const found = await unpack(bytes, 'zstd', size);
      expect(found.toString()).to.equal(`${SMALL}${SMALL}`);
    }
    const { code } = await refusalOf(unpack(skip.subarray(0, 500), 'zstd'));
    expect(code).to.equal('archive.truncated');
  });

  it('rejects a frame whose length differs from its declared size', async () => {
    const frame = zstdFrame(SMALL, { checksum: false, contentBytes: SMALL.length + 1 });
    const { code, message } = await refusalOf(unpack(frame, 'zstd'));
    expect(code).to.equal('archive.damaged');
    expect(message).to.contain(`${SMALL.length} bytes instead of ${SMALL.length + 1}`);
  });

  it('allocates no memory for a window larger than clients accept', async () => {
    const frame = zstdFrame(SMALL, { windowLog: 31 });
    expect((await refusalOf(unpack(frame, 'zstd'))).code).to.equal('limit.exceeded');
    expect((await unpack(zstdFrame(SMALL, { windowLog: 27 }), 'zstd')).equals(SMALL)).to.equal(
      true,
    );
  });

  it('expands RLE blocks', async () => {
    expect((await unpack(zstdRepeated(3), 'zstd')).length).to.equal(3 * 128 * 1024);
  });
});
