import { expect } from 'chai';
import { DropdockError } from '#src/errors.js';
import type { Digest } from '#src/image/digest.js';
import { parseManifest } from '#src/image/manifest.js';
import type { Tag } from '#src/image/names.js';
import {
  errorFields,
  formatReceipt,
  type PublishedOutcome,
  publishedReceipt,
  type ReceiptFrame,
  rejectedReceipt,
} from '#src/report.js';
import { TestContent } from './support/make-image.js';

const FRAME: ReceiptFrame = {
  by: 'ann',
  drop: 'team/app:1.0',
  repository: 'team/app',
  id: 'team~app',
  claim: 'team~app:1.0',
  claimedAt: '20261123T152634.123Z',
  finishedAt: '20261123T152634.456Z',
  tookMs: 333,
};
const OLD = `sha256:${'0'.repeat(64)}` as Digest;

describe('the receipt of a published drop', () => {
  const content = new TestContent();
  const image = content.image({ layers: ['one'] });
  const bytes = content.blobs.get(image.digest) ?? Buffer.alloc(0);
  const digest = image.digest as Digest;
  const outcome: PublishedOutcome = {
    status: 'published',
    snapshot: '20261123T152634.400Z',
    base: '20261123T100000.000Z',
    moves: [
      { tag: 'gone' as Tag, from: OLD, to: null },
      { tag: 'moved' as Tag, from: OLD, to: digest },
      { tag: 'new' as Tag, from: null, to: digest },
    ],
    content: {
      roots: [{ digest, tags: ['moved', 'new', 'same'] as Tag[], names: [] }],
      manifests: [
        {
          digest,
          size: image.size,
          manifest: parseManifest(bytes, undefined, 'x'),
          bytes: undefined,
        },
      ],
      blobs: [{ digest: OLD, size: 1000, source: 'published' }],
      leftOut: [],
      warnings: ['a warning'],
    },
    ingested: { linked: 1, copied: 2 },
    leftOut: [{ what: 'linux/arm64', why: 'absent' }],
  };

  it('warns about content in the drop that clients cannot pull', () => {
    const held = { what: 'signature-1', why: 'not served', isHeld: true };
    const receipt = publishedReceipt({ ...outcome, leftOut: [...outcome.leftOut, held] }, FRAME);
    expect(receipt).to.deep.include({
      leftOut: [...outcome.leftOut, { what: 'signature-1', why: 'not served' }],
      warnings: ['a warning', 'not published: signature-1 (not served)'],
    });
  });

  it('lists the change of each tag, the amounts, and what was left out', () => {
    expect(publishedReceipt(outcome, FRAME)).to.deep.equal({
      version: 1,
      status: 'published',
      ...FRAME,
      snapshot: outcome.snapshot,
      base: outcome.base,
      tags: [
        { tag: 'moved', from: OLD, to: digest },
        { tag: 'new', from: null, to: digest },
        { tag: 'same', from: digest, to: digest },
      ],
      removedTags: ['gone'],
      digests: [digest],
      manifests: 1,
      blobs: 1,
      bytes: image.size + 1000,
      ingested: outcome.ingested,
      leftOut: outcome.leftOut,
      warnings: ['a warning'],
    });
  });

  it('is JSON that ends with a newline', () => {
    const text = formatReceipt(publishedReceipt(outcome, FRAME));
    expect(text).to.match(/\}\n$/);
    expect(JSON.parse(text)).to.include({ status: 'published', drop: 'team/app:1.0' });
  });
});

describe('the receipt of a rejected drop', () => {
  it('contains the code, a sentence, what to do, and the path and digest concerned', () => {
    const details = { path: 'blobs/aa', digest: OLD, found: 3 };
    const error = new DropdockError('size.mismatch', 'It is too long.', details);
    expect(rejectedReceipt(error, FRAME)).to.deep.equal({
      version: 1,
      status: 'rejected',
      ...FRAME,
      code: 'size.mismatch',
      message: 'It is too long.',
      hint: error.hint,
      path: 'blobs/aa',
      digest: OLD,
      details,
    });
  });

  it('says where the drop is kept, and how to take it back', () => {
    const kept = ".rejected/it's@20261123T152634.123Z";
    expect(
      rejectedReceipt(new DropdockError('drop.empty', 'Nothing.'), { ...FRAME, kept }),
    ).to.include({ kept, takeBack: "mv '.rejected/it'\\''s@20261123T152634.123Z' DESTINATION" });
  });

  it('contains null when no path or digest is concerned, or the user is unknown', () => {
    const frame = { ...FRAME, by: undefined };
    const receipt = rejectedReceipt(new DropdockError('drop.empty', 'Nothing.'), frame);
    expect(receipt).to.include({ path: null, digest: null, by: null });
  });
});

describe('errorFields', () => {
  it('contain the errno of a system error, and mark every other error as a bug', () => {
    const system = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });
    expect(errorFields(system)).to.deep.equal({
      code: 'ENOSPC',
      message: 'full',
      hint: 'Free some space; the operation is retried automatically.',
    });
    // Files have nothing to do with it.
    const port = Object.assign(new Error('no'), { code: 'EACCES', syscall: 'listen' });
    expect(errorFields(port)).to.deep.equal({ code: 'EACCES', message: 'no' });
    expect(errorFields(new TypeError('oh'))).to.deep.equal({ code: 'bug', message: 'oh' });
  });
});
