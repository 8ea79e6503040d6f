/** The order in which tags are shown: `latest` first, then by version (1.9 before 1.10). Pure. */

/** Digits and other characters alternate: `v1.10-rc2` is `v`, `1`, `.`, `10`, `-rc`, `2`. */
const PARTS = /\d+|\D+/g;
/** What marks a version that comes before the one without it, as in `1.0-rc1`. */
const PRERELEASE = /^[.-]?(?:alpha|beta|rc|pre|preview|dev|snapshot|nightly)(?![a-z])/i;

/** Returns the items in the order in which their tags are shown. Each tag is taken apart only once. */
export function sortByTag<Item>(items: Iterable<Item>, tagOf: (item: Item) => string): Item[] {
  const keys = [...items].map((item) => {
    const tag = tagOf(item);
    return { item, tag, parts: tag.match(PARTS) ?? [] };
  });
  return keys.sort(compareKeys).map(({ item }) => item);
}

interface Key {
  readonly tag: string;
  readonly parts: readonly string[];
}

function compareKeys(a: Key, b: Key): number {
  if (a.tag === b.tag) return 0;
  if (a.tag === 'latest') return -1;
  if (b.tag === 'latest') return 1;
  return compareParts(a.parts, b.parts) || (a.tag < b.tag ? -1 : 1);
}

function compareParts(a: readonly string[], b: readonly string[]): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const [one = '', other = ''] = [a[at], b[at]];
    if (one === other) continue;
    const bothCount = isNumber(one) && isNumber(other);
    const order = bothCount ? compareNumbers(one, other) : compareTexts(one, other);
    if (order !== 0) return order;
  }
  // What one has more: `1.0-rc1` comes before `1.0`, but `1.0-alpine` and `1.0.1` after it.
  const longer = a.length > b.length ? a : b;
  const more = longer.slice(shared).join('');
  const sign = a.length - b.length;
  return PRERELEASE.test(more) ? -sign : sign;
}

function compareTexts(one: string, other: string): number {
  const order = Number(PRERELEASE.test(other)) - Number(PRERELEASE.test(one));
  return order || (one < other ? -1 : 1);
}

/** Numbers may have more digits than a number of JavaScript holds exactly. */
function compareNumbers(one: string, other: string): number {
  const [a, b] = [one, other].map((digits) => digits.replace(/^0+(?=\d)/, '')) as [string, string];
  return a.length - b.length || (a === b ? 0 : a < b ? -1 : 1);
}

function isNumber(part: string): boolean {
  return part >= '0' && part < ':';
}
