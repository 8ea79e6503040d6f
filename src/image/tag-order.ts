/** The order in which tags are shown: `latest` first, then by version (1.9 before 1.10). Pure. */

/** Digits and other characters alternate: `v1.10-rc2` is `v`, `1`, `.`, `10`, `-rc`, `2`. */
const PARTS = /(\d+)|\D+/g;
/** What marks a version that comes before the one without it, as in `1.0-rc1`. */
const PRERELEASE = /^[.-]?(?:alpha|beta|rc|pre|preview|dev|snapshot|nightly)(?![a-z])/i;

/** Control characters that no tag contains: `1.0-rc1` comes before the end of `1.0`, `1.0-alpine` after it. */
const BEFORE_END = '\u0001';
const END = '\u0002';

/**
 * Returns the items in the order in which their tags are shown. Each tag becomes a key that is compared as
 * text, because a repository may have 50,000 tags.
 */
export function sortByTag<Item>(items: Iterable<Item>, tagOf: (item: Item) => string): Item[] {
  const keyed = [...items].map((item) => {
    const tag = tagOf(item);
    return { item, tag, key: tag === 'latest' ? '' : keyOf(tag) };
  });
  keyed.sort((a, b) => compare(a.key, b.key) || compare(a.tag, b.tag));
  return keyed.map(({ item }) => item);
}

function compare(one: string, other: string): number {
  return one === other ? 0 : one < other ? -1 : 1;
}

function keyOf(tag: string): string {
  return (
    tag.replace(PARTS, (part, digits?: string) => {
      if (digits !== undefined) return numberKey(digits);
      return PRERELEASE.test(part) ? BEFORE_END + part : part;
    }) + END
  );
}

/** Sorted as text like the numbers: of two numbers the one with more digits is larger. */
function numberKey(digits: string): string {
  const number = digits.replace(/^0+(?=\d)/, '');
  return `0${String.fromCharCode(number.length)}${number}`;
}
