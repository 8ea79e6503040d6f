import { expect } from 'chai';
import {
  digestAlgorithm,
  digestFrom,
  digestHex,
  isDigest,
  parseDigest,
} from '#src/image/digest.js';
import { refusal } from '../support/refusal.js';

const HEX = '0123456789abcdef'.repeat(4);

describe('parseDigest', () => {
  for (const [algorithm, hex] of [
    ['sha256', HEX],
    ['sha512', HEX + HEX],
  ] as const) {
    it(`parses ${algorithm} into its parts`, () => {
      const digest = parseDigest(`${algorithm}:${hex}`, 'here');
      expect(digest).to.equal(`${algorithm}:${hex}`);
      expect(digestAlgorithm(digest)).to.equal(algorithm);
      expect(digestHex(digest)).to.equal(hex);
      expect(digestFrom(algorithm, hex)).to.equal(digest);
    });
  }

  const bad: readonly [string, string][] = [
    ['nothing', ''],
    ['no algorithm', HEX],
    ['an unknown algorithm', `md5:${HEX.slice(32)}`],
    ['a registered, unsupported algorithm', `blake3:${HEX}`],
    ['capitals', `sha256:${HEX.toUpperCase()}`],
    ['an algorithm in upper case', `SHA256:${HEX}`],
    ['too few digits', `sha256:${HEX.slice(1)}`],
    ['too many digits', `sha256:${HEX}0`],
    ['the length of the other algorithm', `sha512:${HEX}`],
    ['a non-hexadecimal digit', `sha256:${HEX.slice(1)}g`],
    ['a path', `sha256:../../${HEX.slice(6)}`],
    ['a line break at its end', `sha256:${HEX}\n`],
    ['a second line', `x\nsha256:${HEX}`],
  ];
  for (const [what, text] of bad) {
    it(`rejects ${what}: digest.invalid`, () => {
      expect(isDigest(text)).to.equal(false);
      const { code, details } = refusal(() => parseDigest(text, 'the manifest'));
      expect(code).to.equal('digest.invalid');
      expect(details).to.deep.equal({ path: 'the manifest', digest: text });
    });
  }

  it('shortens long text in its message', () => {
    const { details, message } = refusal(() => parseDigest('x'.repeat(1_000_000), 'here'));
    expect(String(details.digest).length).to.be.lessThan(200);
    expect(message.length).to.be.lessThan(300);
  });
});
