/** The digest of a signed schema 1 manifest is that of its content without signatures. */
import { expect } from 'chai';
import { schema1Layers, schema1Payload } from '#src/image/schema1.js';
import { sha256 } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import {
  base64url,
  makeSchema1,
  payloadAsClientsCut,
  signatureBlock,
  withSignatures,
} from '../support/schema1.js';

const LAYERS = [sha256('one'), sha256('two')];
const payloadOf = (text: string) => schema1Payload(Buffer.from(text), 'here').toString('utf8');

describe('schema 1', () => {
  it('lists each of its layers once', () => {
    const { text } = makeSchema1([...LAYERS, ...LAYERS], { signed: true });
    expect(schema1Layers(JSON.parse(text), 'here')).to.deep.equal(LAYERS);
  });

  it('has the digest of all its bytes when it is unsigned', () => {
    const { text } = makeSchema1(LAYERS, { signed: false });
    expect(payloadOf(text)).to.equal(text);
  });

  for (const indent of [0, 2, 3]) {
    it(`has the digest of its signed part, as clients extract it (indented by ${indent})`, () => {
      const { text, payload } = makeSchema1(LAYERS, { signed: true, indent });
      expect(payloadOf(text)).to.equal(payload);
      expect(payloadAsClientsCut(Buffer.from(text)).toString('utf8')).to.equal(payload);
    });
  }

  it('counts bytes, not characters', () => {
    const { text, payload } = makeSchema1(LAYERS, { signed: false, tag: 'ä€𝄞' });
    const formatLength = Buffer.byteLength(payload) - 2;
    const block = signatureBlock({ formatLength, formatTail: base64url('\n}') });
    expect(payloadOf(withSignatures(text, [block]))).to.equal(payload);
  });

  it('accepts several signatures that agree', () => {
    const { payload } = makeSchema1(LAYERS, { signed: false });
    const header = { formatLength: payload.length - 2, formatTail: base64url('\n}') };
    const blocks = [signatureBlock(header, 'a'), signatureBlock({ ...header, time: 1 }, 'b')];
    expect(payloadOf(withSignatures(payload, blocks))).to.equal(payload);
  });

  const { payload } = makeSchema1(LAYERS, { signed: false });
  const length = payload.length - 2;
  const tail = base64url('\n}');
  const signedAs = (...headers: readonly object[]) =>
    withSignatures(
      payload,
      headers.map((header) => signatureBlock(header)),
    );
  const good = signedAs({ formatLength: length, formatTail: tail });
  const victim = base64url(makeSchema1([sha256('other')], { signed: false }).payload);
  const [block] = JSON.parse(good).signatures;
  const inFront = `{"signatures":${JSON.stringify([block])},${payload.slice(1)}`;

  const forged: Record<string, readonly [text: string, code: string]> = {
    'none of its bytes, and another document as tail': [
      signedAs({ formatLength: 0, formatTail: victim }),
      'manifest.ambiguous',
    ],
    'less than the document': [
      signedAs({ formatLength: length - 1, formatTail: tail }),
      'manifest.ambiguous',
    ],
    'more than the document': [
      signedAs({ formatLength: length + 1, formatTail: tail }),
      'manifest.ambiguous',
    ],
    'more than exists': [signedAs({ formatLength: 1e9, formatTail: tail }), 'manifest.ambiguous'],
    'its start and another end': [
      signedAs({ formatLength: length, formatTail: base64url(',"tag":"2"}') }),
      'manifest.ambiguous',
    ],
    'a tail that closes twice': [
      signedAs({ formatLength: length, formatTail: base64url('}}') }),
      'manifest.ambiguous',
    ],
    'itself, and other content by a second signature': [
      signedAs({ formatLength: length, formatTail: tail }, { formatLength: 0, formatTail: victim }),
      'manifest.ambiguous',
    ],
    'itself, with two ends': [
      signedAs(
        { formatLength: length, formatTail: tail },
        { formatLength: length, formatTail: base64url(' }') },
      ),
      'manifest.ambiguous',
    ],
    'itself, with the signatures in front': [inFront, 'manifest.ambiguous'],
    'itself, with data after the signatures': [
      `${good.slice(0, -2)},\n   "tag": "2"\n}`,
      'manifest.ambiguous',
    ],
    'itself, with duplicate signatures': [
      `${good.slice(0, -2)},\n   "signatures": []\n}`,
      'manifest.ambiguous',
    ],
    'itself, with duplicate signatures, once escaped': [
      `${good.slice(0, -2)},\n   "\\u0073ignatures": []\n}`,
      'manifest.ambiguous',
    ],
    'itself, with a duplicate header member': [
      withSignatures(payload, [
        {
          protected: base64url(
            `{"formatLength":0,"formatLength":${length},"formatTail":"${tail}"}`,
          ),
        },
      ]),
      'manifest.ambiguous',
    ],
    'itself, with a block that Go clients read differently': [
      withSignatures(payload, [{ ...block, Protected: base64url('{}') }]),
      'manifest.ambiguous',
    ],
    'itself, in base64 that only Node accepts': [
      withSignatures(payload, [{ ...block, protected: `${block.protected}!` }]),
      'json.invalid',
    ],
    'itself, with a header that is not JSON': [
      withSignatures(payload, [{ protected: base64url('{') }]),
      'json.invalid',
    ],
    'itself, without a length': [signedAs({ formatTail: tail }), 'json.invalid'],
    'itself, with a negative length': [
      signedAs({ formatLength: -1, formatTail: tail }),
      'json.invalid',
    ],
    'itself, without signatures': [withSignatures(payload, []), 'json.invalid'],
    'itself, with null signatures': [`${payload.slice(0, -2)},"signatures":null}`, 'json.invalid'],
  };
  for (const [what, [text, code]] of Object.entries(forged)) {
    it(`is rejected when it signs ${what}: ${code}`, () => {
      expect(JSON.parse(text).fsLayers, 'it is JSON').to.have.length(2);
      expect(refusal(() => payloadOf(text)).code).to.equal(code);
    });
  }
});
