/**
 * Finds single entries in the text of a snapshot without parsing the rest: tables are sorted and have one
 * line for each entry, so a binary search finds it. 50,000 tags are 80 MB of text, which take a second to
 * parse and more memory than the text itself. Pure.
 */
import { DropdockError } from '../errors.js';
import { findLine } from './lines.js';
import { type SnapshotHeader, TABLES, type Table, VERSION } from './snapshot-file.js';

export interface IndexedHeader extends SnapshotHeader {
  readonly repository: string;
  readonly id: string;
  readonly removed?: true;
}

/** The offsets of a table: start of the first line, end of the last line. */
interface Lines {
  readonly start: number;
  readonly end: number;
}

/** The end of a complete text. */
const END = '\n}\n';
const LINE_BREAK = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
/** Two spaces and a quote precede the key. */
const INDENT = 3;

export class SnapshotIndex {
  readonly header: IndexedHeader;
  readonly #tables: ReadonlyMap<Table, Lines>;

  /** @throws layout.unsafe */
  constructor(
    readonly bytes: Buffer,
    readonly where: string,
  ) {
    const tables = new Map<Table, Lines>();
    let at = 0;
    for (const table of TABLES) {
      // Top-level lines are indented by exactly one space; JSON strings contain no raw line break.
      const mark = `\n "${table}": {`;
      const found = bytes.indexOf(mark, at);
      if (found < 0) throw damaged(where);
      if (table === 'tags') at = found;
      const start = found + mark.length + 1;
      const isEmpty = bytes[start - 1] !== LINE_BREAK;
      const end = isEmpty ? start : bytes.indexOf('\n }', start - 1);
      if (end < 0) throw damaged(where);
      tables.set(table, { start, end });
      at = end;
    }
    if (bytes.toString('latin1', bytes.length - END.length) !== END) throw damaged(where);
    this.#tables = tables;
    this.header = this.#readHeader();
  }

  /** Returns the value of a key; undefined if it is absent. Keys are ASCII without quotes. */
  entry<Value>(table: Table, key: string): Value | undefined {
    const { start, end } = this.#lines(table);
    const { isThere, keyEnd, next } = findLine(this.bytes, start, end, key);
    if (!isThere) return undefined;
    const hasMore = this.bytes[next - 1] === LINE_BREAK;
    return JSON.parse(this.#value(keyEnd, hasMore ? next - 1 : next)) as Value;
  }

  /** Returns all keys, sorted. */
  keys(table: Table): string[] {
    const keys: string[] = [];
    const { start, end: last } = this.#lines(table);
    for (let at = start; at < last; ) {
      const { keyEnd, end } = this.#line(at, last);
      keys.push(this.bytes.toString('latin1', at + INDENT, keyEnd));
      at = end + 1;
    }
    return keys;
  }

  #lines(table: Table): Lines {
    return this.#tables.get(table) as Lines;
  }

  #line(start: number, last: number): { keyEnd: number; end: number } {
    const found = this.bytes.indexOf(LINE_BREAK, start);
    const end = found < 0 ? last : Math.min(found, last);
    return { keyEnd: this.bytes.indexOf(QUOTE, start + INDENT), end };
  }

  #value(keyEnd: number, end: number): string {
    const hasMore = this.bytes[end - 1] === COMMA;
    return this.bytes.toString('utf8', keyEnd + 2, hasMore ? end - 1 : end);
  }

  #readHeader(): IndexedHeader {
    const end = this.bytes.indexOf(',\n "tags": {');
    try {
      const head = JSON.parse(`${this.bytes.toString('utf8', 0, end)}\n}`);
      if (head.version !== VERSION) throw new Error(`unsupported version ${head.version}`);
      return head as IndexedHeader;
    } catch (cause) {
      throw damaged(this.where, cause);
    }
  }
}

function damaged(where: string, cause?: unknown): DropdockError {
  return new DropdockError('layout.unsafe', `${where} is damaged.`, { path: where }, cause);
}
