/**
 * Finds the positions of JSON members and repeated names, because `JSON.parse` silently keeps the last member
 * of a name. Pure.
 */

export interface JsonMember {
  /**
   * Path of the object that contains it: names joined by dots, without lists. Empty for the document itself,
   * `manifests.platform` for the platform of an index entry.
   */
  readonly within: string;
  readonly name: string;
  /** Offset of the quote before its name. */
  readonly start: number;
  /** The object already has a member of this name. */
  readonly isRepeated: boolean;
}

interface Container {
  readonly within: string;
  /** Undefined for a list. */
  readonly names: Set<string> | undefined;
  /** The member whose value is being parsed. */
  name: string;
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST] = [0x7b, 0x7d, 0x5b, 0x5d];

/** Calls `use` for every member of every object, in order. @param bytes valid JSON */
export function eachMember(bytes: Buffer, use: (member: JsonMember) => void): void {
  const open: Container[] = [];
  let container: Container | undefined;
  let isName = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      const end = endOfString(bytes, at);
      if (isName && container?.names) {
        const name = readString(bytes, at, end);
        const { within, names } = container;
        use({ within, name, start: at, isRepeated: names.has(name) });
        names.add(name);
        container.name = name;
        isName = false;
      }
      at = end;
    } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
      if (container) open.push(container);
      const within = container ? placeIn(container) : '';
      const names = byte === OPEN_OBJECT ? new Set<string>() : undefined;
      container = { within, names, name: '' };
      isName = names !== undefined;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
      container = open.pop();
      isName = false;
    } else if (byte === COMMA) isName = container?.names !== undefined;
  }
}

function placeIn({ within, names, name }: Container): string {
  if (names === undefined) return within;
  return within === '' ? name : `${within}.${name}`;
}

/** @returns the offset of the closing quote */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
  return at;
}

function readString(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString('utf8', start + 1, end);
  return text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text;
}
