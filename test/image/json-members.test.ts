/**
 * Members are reported as `JSON.parse` reads them, including duplicates of which it would keep only the
 * last.
 */
import { expect } from 'chai';
import { eachMember, type JsonMember } from '#src/image/json-members.js';
import { makeRandom } from '../support/random.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);

function membersOf(text: string): JsonMember[] {
  const found: JsonMember[] = [];
  eachMember(Buffer.from(text), (member) => found.push(member));
  return found;
}

/** The same, told from the values. */
function expectedOf(value: unknown, within = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => expectedOf(each, within));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => [
    `${within}|${name}`,
    ...expectedOf(each, within === '' ? name : `${within}.${name}`),
  ]);
}

describe('eachMember', () => {
  it('returns the object of each member, and the offset of its name', () => {
    const text = '{"a": {"b": [1, {"c": "}"}, [{"d": null}]]}, "e": 2}';
    expect(
      membersOf(text).map(({ within, name, start }) => [
        within,
        name,
        text[start],
        text[start + 1],
      ]),
    ).to.deep.equal([
      ['', 'a', '"', 'a'],
      ['a', 'b', '"', 'b'],
      ['a.b', 'c', '"', 'c'],
      ['a.b', 'd', '"', 'd'],
      ['', 'e', '"', 'e'],
    ]);
  });

  it('detects names repeated in one object, in any spelling, and not across objects', () => {
    const repeated = (text: string) =>
      membersOf(text).flatMap(({ name, isRepeated }) => (isRepeated ? [name] : []));
    expect(repeated('{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}')).to.deep.equal([]);
    expect(repeated('{"a":1,"b":{"a":[{"x":1}]},"a":2}')).to.deep.equal(['a']);
    expect(repeated('{"a\\"":1,"\\u0061\\"":2,"ä":1,"\\u00e4":1}')).to.deep.equal(['a"', 'ä']);
    expect(repeated('{"a":[{"b":1},{"b":1,"c":{},"b":1}]}')).to.deep.equal(['b']);
  });

  it(`agrees with JSON.parse on random texts (seed ${SEED})`, () => {
    const random = makeRandom(SEED);
    const below = (bound: number) => Math.floor(random() * bound);
    const strings = ['a', 'b"c', '\\', '\\"', '{"x":1}', '[', ',', ': "', 'ä€𝄞', '', '\n'];
    const string = () => strings[below(strings.length)] ?? '';
    const make = (depth: number): unknown => {
      const kind = below(depth > 4 ? 3 : 6);
      if (kind === 0) return string();
      if (kind === 1) return below(1000) - 500;
      if (kind === 2) return [true, false, null][below(3)];
      const count = below(4);
      if (kind === 3) return Array.from({ length: count }, () => make(depth + 1));
      return Object.fromEntries(
        Array.from({ length: count }, (_, at) => [`${string()}${at}`, make(depth + 1)]),
      );
    };
    for (let round = 0; round < 500; round++) {
      const value = make(0);
      for (const indent of [0, 2]) {
        const text = JSON.stringify(value, undefined, indent);
        const found = membersOf(text).map(({ within, name }) => `${within}|${name}`);
        expect(found, text).to.deep.equal(expectedOf(JSON.parse(text)));
      }
    }
  });
});
