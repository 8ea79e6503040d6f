/** Conditional requests and ranges according to RFC 9110; files that are not sent are closed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { type Answer, answerBytes, answerFile, cacheControl } from '#src/registry/answer.js';
import { type OpenFile, openFile } from '#src/storage/serving.js';
import { FileBlob } from '#src/targets/directory/directory-source.js';
import { readByteRanges } from '../support/byte-ranges.js';
import { sha256 } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const DIGEST = sha256('x') as Digest;
const ETAG = `"${DIGEST}"`;
const FOUND = {
  type: 'text/plain',
  digest: DIGEST,
  caching: { immutable: true, isPrivate: false },
};
type Headers = Record<string, string>;

/** False once it was closed: a closed handle has the descriptor -1. */
const isOpen = (file: OpenFile) => file.handle.fd >= 0;

/** The ranges that are sent; those of a multipart body are read from it. */
async function sentOf({ status, headers, body }: Answer): Promise<string> {
  if (body === undefined || Buffer.isBuffer(body) || 'live' in body) return '';
  if ('file' in body) return ` ${body.start}-${body.end}`;
  const chunks: Buffer[] = [];
  for await (const piece of body.pieces) chunks.push(Buffer.from(piece));
  const all = Buffer.concat(chunks);
  expect(all.length).to.equal(body.bytes);
  const read = { 'content-type': String(headers['Content-Type']) };
  const length = { 'content-length': String(headers['Content-Length']) };
  const parts = readByteRanges({ status, headers: { ...read, ...length }, body: all });
  for (const { range, bytes, type } of parts) {
    const [start, end] = range.split(/[-/]/).map(Number);
    expect(bytes.toString(), range).to.equal('0123456789'.slice(start, (end ?? 0) + 1));
    expect(type).to.equal(FOUND.type);
  }
  return ` ${parts.map(({ range }) => range).join(', ')}`;
}

describe('answerFile', () => {
  let directory: string;
  before(() => {
    directory = tempDir();
  });
  after(removeTempDirs);

  /** `status first-last`, and the range that the headers tell. */
  async function answered(
    headers: Headers,
    size = 10,
    isHead = false,
  ): Promise<Answer & { told: string }> {
    const path = join(directory, 'file');
    writeFileSync(path, '0123456789'.slice(0, size));
    const file = await openFile(path);
    if (file === undefined) throw new Error('no file');
    const answer = await answerFile({ headers, isHead }, FOUND, new FileBlob(file));
    const { body } = answer;
    const isSent = body !== undefined && !Buffer.isBuffer(body);
    expect(isOpen(file), 'open when it is sent, and only then').to.equal(isSent);
    const bytes = await sentOf(answer);
    if (isSent) await file.close();
    const range = answer.headers['Content-Range'];
    return { ...answer, told: `${answer.status}${bytes}${range ? ` (${range})` : ''}` };
  }
  const told = async (headers: Headers, size?: number) => (await answered(headers, size)).told;

  it('sends the whole file without a Range header', async () => {
    const answer = await answered({});
    expect(answer.told).to.equal('200 0-9');
    expect(answer.headers).to.deep.equal({
      ETag: ETAG,
      'Cache-Control': 'public, max-age=31536000, immutable',
      'Accept-Ranges': 'bytes',
      'Content-Type': 'text/plain',
      'Content-Length': 10,
    });
  });

  it('sends no body for HEAD, and ignores ranges', async () => {
    for (const range of ['bytes=0-3', 'bytes=0-1,3-4']) {
      const answer = await answered({ range }, 10, true);
      expect([answer.told, answer.headers['Content-Length']]).to.deep.equal(['200', 10]);
    }
  });

  it('sends one range: first byte, last byte, suffix, open end, end beyond the file', async () => {
    const ranges: Record<string, string> = {
      'bytes=0-0': '206 0-0 (bytes 0-0/10)',
      'bytes=9-9': '206 9-9 (bytes 9-9/10)',
      'bytes=3-5': '206 3-5 (bytes 3-5/10)',
      'bytes=-1': '206 9-9 (bytes 9-9/10)',
      'bytes=-4': '206 6-9 (bytes 6-9/10)',
      'bytes=-100': '206 0-9 (bytes 0-9/10)',
      'bytes=7-': '206 7-9 (bytes 7-9/10)',
      'bytes=0-': '206 0-9 (bytes 0-9/10)',
      'bytes=8-1000': '206 8-9 (bytes 8-9/10)',
    };
    for (const [range, what] of Object.entries(ranges)) {
      expect(await told({ range }), range).to.equal(what);
    }
    expect((await answered({ range: 'bytes=3-5' })).headers['Content-Length']).to.equal(3);
  });

  it('sends the file length when the range is not satisfiable', async () => {
    for (const range of ['bytes=10-', 'bytes=10-20', 'bytes=99999999999-', 'bytes=-0']) {
      const { told, body, headers } = await answered({ range });
      expect(told, range).to.equal('416 (bytes */10)');
      expect(String(body)).to.contain('RANGE_INVALID');
      expect(headers['Cache-Control']).to.equal('no-store');
    }
  });

  it('sends several ranges in request order, adjacent ones too, without unsatisfiable ones', async () => {
    const ranges: Record<string, string> = {
      'bytes=0-1,3-4': '206 0-1/10, 3-4/10',
      'bytes=0-1,2-3': '206 0-1/10, 2-3/10',
      'bytes=0-0, -1': '206 0-0/10, 9-9/10',
      'bytes=-2,0-2': '206 8-9/10, 0-2/10',
      'bytes=1-3,2-4': '206 1-3/10, 2-4/10',
      'bytes=0-0,5-,50-60': '206 0-0/10, 5-9/10',
      'bytes=0-0,7-100': '206 0-0/10, 7-9/10',
      'bytes=50-60,-3,10-': '206 7-9 (bytes 7-9/10)',
      'bytes=60-70,-100': '206 0-9 (bytes 0-9/10)',
      'bytes=50-60,70-': '416 (bytes */10)',
    };
    for (const [range, what] of Object.entries(ranges)) {
      expect(await told({ range }), range).to.equal(what);
    }
    const { headers } = await answered({ range: 'bytes=0-1,3-4', 'if-range': ETAG });
    expect(headers).to.include({ ETag: ETAG, 'Accept-Ranges': 'bytes' });
  });

  it('sends the whole file when several ranges would be larger, or are an attack', async () => {
    const many = (count: number, of: (n: number) => string) =>
      `bytes=${Array.from({ length: count }, (_none, n) => of(n)).join(',')}`;
    const harmful = [
      'bytes=0-,5-',
      'bytes=0-9,0-9',
      'bytes=-100,0-0',
      // Three steps back.
      'bytes=6-6,4-4,2-2,0-0',
      'bytes=1-1,1-1,1-1,1-1',
    ];
    for (const range of harmful) expect(await told({ range }), range).to.equal('200 0-9');
    const size = 4000;
    const path = join(directory, 'large');
    writeFileSync(path, Buffer.alloc(size));
    const status = async (range: string) => {
      const file = await openFile(path);
      if (file === undefined) throw new Error('no file');
      const { status } = await answerFile(
        { headers: { range }, isHead: false },
        FOUND,
        new FileBlob(file),
      );
      await file.close();
      return status;
    };
    expect(await status(many(1024, (n) => `${2 * n}-${2 * n}`))).to.equal(206);
    expect(await status(many(1025, (n) => `${2 * n}-${2 * n}`))).to.equal(200);
  });

  it('sends the whole file for malformed ranges and other units', async () => {
    const malformed = ['bytes', 'bytes=', 'bytes=a-b', 'bytes 0-1', '0-1', 'bytes=-', 'bytes=1'];
    const units = ['lines=0-1', 'lines=50-', 'x=-1'];
    const several = ['bytes=0-1,x', 'bytes=0-1,3-4x', 'bytes=0-1,,3-4', 'lines=0-1,3-4'];
    for (const range of [...malformed, ...units, ...several, 'bytes=1-2x', 'bytes=0x1-2', '']) {
      expect(await told({ range }), range).to.equal('200 0-9');
    }
  });

  it('sends a range only if If-Range matches the file', async () => {
    const range = 'bytes=1-2';
    expect(await told({ range, 'if-range': ETAG })).to.equal('206 1-2 (bytes 1-2/10)');
    const others = [`W/${ETAG}`, '"other"', DIGEST, 'Wed, 21 Oct 2015 07:28:00 GMT', ''];
    for (const other of others) {
      expect(await told({ range, 'if-range': other }), other).to.equal('200 0-9');
    }
    expect(await told({ range: 'bytes=50-', 'if-range': '"other"' })).to.equal('200 0-9');
    expect(await told({ range: 'bytes=0-1,3-4', 'if-range': '"other"' })).to.equal('200 0-9');
  });

  it('sends an empty file, for which no range is satisfiable', async () => {
    const { told: whole, headers } = await answered({}, 0);
    expect(whole).to.equal('200');
    expect(headers['Content-Length']).to.equal(0);
    for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-5']) {
      expect(await told({ range }, 0), range).to.equal('416 (bytes */0)');
    }
  });

  it('sends 304 when the client has the current version', async () => {
    // fetch() says no-cache with each of them: it is meant for caches on the way.
    expect(await told({ 'if-none-match': ETAG, 'cache-control': 'no-cache' })).to.equal('304');
    const known = [ETAG, `W/${ETAG}`, `"a", ${ETAG}`, `"a",W/${ETAG} , "b"`, '*'];
    for (const match of known) {
      const { told, headers, body } = await answered({ 'if-none-match': match });
      expect(told, match).to.equal('304');
      expect(body).to.equal(undefined);
      expect(headers).to.include({ ETag: ETAG }).and.to.not.have.property('Content-Length');
    }
    // 304 goes before a range.
    expect(await told({ 'if-none-match': ETAG, range: 'bytes=0-1' })).to.equal('304');
  });

  it('sends the file when the client has another version, or sends only a date', async () => {
    for (const match of ['"other"', DIGEST, '"a", "b"', '']) {
      expect(await told({ 'if-none-match': match }), match).to.equal('200 0-9');
    }
    expect(await told({ 'if-modified-since': new Date().toUTCString() })).to.equal('200 0-9');
  });
});

describe('answerBytes', () => {
  it('evaluates conditions but not ranges', () => {
    const bytes = Buffer.from('0123456789');
    const whole = answerBytes({ range: 'bytes=0-1' }, FOUND, bytes);
    expect(whole).to.include({ status: 200, body: bytes });
    expect(whole.headers).to.include({ 'Content-Length': 10, ETag: ETAG });
    expect(whole.headers).to.not.have.property('Accept-Ranges');
    const known = answerBytes({ 'if-none-match': ETAG }, FOUND, bytes);
    expect(known).to.include({ status: 304, body: undefined });
  });
});

describe('cacheControl', () => {
  it('allows caching of immutable content, revalidation of the rest, and no sharing of private content', () => {
    const said = (immutable: boolean, isPrivate: boolean) => cacheControl({ immutable, isPrivate });
    expect(said(true, false)).to.equal('public, max-age=31536000, immutable');
    expect(said(true, true)).to.equal('private, max-age=31536000, immutable');
    expect(said(false, false)).to.equal('no-cache');
    expect(said(false, true)).to.equal('private, no-cache');
  });
});
