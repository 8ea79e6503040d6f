import { expect } from 'chai';
import * as v from 'valibot';
import { isWholeJson, parseJson, parseSyntax } from '#src/image/json.js';
import { refusal } from '../support/refusal.js';

const SCHEMA = v.object({ name: v.string(), list: v.optional(v.array(v.number())) });
const parse = (text: string, max = 1000) => parseJson(Buffer.from(text), 'here', SCHEMA, max);
const nested = (depth: number) => Buffer.from('['.repeat(depth) + ']'.repeat(depth));

describe('parseJson', () => {
  it('returns the fields of the schema, and no others', () => {
    expect(parse('{"name":"a","list":[1],"other":true}')).to.deep.equal({ name: 'a', list: [1] });
  });

  const refused: readonly [string, string, string][] = [
    ['a truncated document', '{"name":"a"', 'json.invalid'],
    ['an empty document', '', 'json.invalid'],
    ['two documents', '{"name":"a"}{}', 'json.invalid'],
    ['a wrong type', '{"name":1}', 'json.invalid'],
    ['a missing field', '{}', 'json.invalid'],
    ['a value that is no object', 'null', 'json.invalid'],
    ['a document that is too long', `{"name":"${'a'.repeat(1000)}"}`, 'json.too-large'],
  ];
  for (const [what, text, code] of refused) {
    it(`rejects ${what}: ${code}`, () => {
      const error = refusal(() => parse(text));
      expect(error.code).to.equal(code);
      expect(error.details.path).to.equal('here');
    });
  }

  it('accepts a document of exactly the maximum length', () => {
    const text = '{"name":"a"}';
    expect(parse(text, text.length)).to.deep.equal({ name: 'a' });
    expect(refusal(() => parse(text, text.length - 1)).code).to.equal('json.too-large');
  });

  it('names the invalid field', () => {
    const { details, message } = refusal(() => parse('{"name":"a","list":[1,"2"]}'));
    expect(details.field).to.equal('list.1');
    expect(message).to.equal('here: list.1: expected number, not "2".');
  });

  it('names what is missing, and does not repeat long text', () => {
    expect(refusal(() => parse('{}')).message).to.equal('here: name: is missing.');
    const { message } = refusal(() => parse(`{"name":"a","list":["${'x'.repeat(900)}"]}`));
    expect(message).to.have.length.below(120);
  });
});

describe('parseSyntax', () => {
  it('accepts documents 32 levels deep and rejects deeper ones: json.too-deep', () => {
    expect(parseSyntax(nested(32), 'here')).to.be.an('array');
    expect(refusal(() => parseSyntax(nested(33), 'here')).code).to.equal('json.too-deep');
    expect(refusal(() => parseSyntax(nested(1_000_000), 'here')).code).to.equal('json.too-deep');
  });

  it('counts nesting levels, not brackets: text and closed brackets do not count', () => {
    const text = JSON.stringify({ text: `\\"${'['.repeat(100)}\\`, list: Array(100).fill([{}]) });
    expect(parseSyntax(Buffer.from(text), 'here')).to.deep.equal(JSON.parse(text));
  });

  it('handles an escaped quote', () => {
    const text = `{"a\\"":${'['.repeat(40)}${']'.repeat(40)}}`;
    expect(refusal(() => parseSyntax(Buffer.from(text), 'here')).code).to.equal('json.too-deep');
  });
});

describe('isWholeJson', () => {
  for (const [text, whole] of [
    ['{}', true],
    ['[1,2]', true],
    ['', false],
    ['{"a":', false],
    ['{}}', false],
    ['\0\0\0\0', false],
  ] as const) {
    it(`is ${whole} for ${JSON.stringify(text)}`, () => {
      expect(isWholeJson(Buffer.from(text))).to.equal(whole);
    });
  }
});
