/**
 * Tables in a text, one line for each key, sorted, as `.snapshot.json` and the redirect file have them.
 * A publish changes few lines of many (10,000 tags: 50,000 lines, 16 MB): the next text is made of the
 * last one's bytes and of those lines. Pure.
 */

/** A table's lines, without what stands before the first and after the last. */
export type Lines = Buffer;

/** For each key its new line, two spaces and the key in quotes first; null where it has none any more. */
export type LineChanges = ReadonlyMap<string, string | null>;

/** A member of a text: its value, or the lines of its table. */
export type Field =
  | { readonly key: string; readonly value: string }
  | { readonly key: string; readonly isList: boolean; readonly lines: readonly Lines[] };

export interface LinedText {
  readonly bytes: Buffer;
  readonly tables: ReadonlyMap<string, Lines>;
}

const LINE_BREAK = 0x0a;
const QUOTE = 0x22;
const OPEN_LIST = 0x5b;
/** Two spaces and a quote; then comes the key. */
const INDENT = 3;
const SEPARATOR = Buffer.from(',\n');

export interface FoundLine {
  readonly isThere: boolean;
  /** Where the line is, or would be. */
  readonly start: number;
  /** Where its key ends. */
  readonly keyEnd: number;
  /** Where the next line begins. */
  readonly next: number;
}

/** Keys are ASCII without quotes; `start` and `end` are where the lines are in `bytes`. */
export function findLine(bytes: Buffer, start: number, end: number, key: string): FoundLine {
  const wanted = Buffer.from(key);
  let [from, to] = [start, end];
  while (from < to) {
    const middle = (from + to) >> 1;
    const line = Math.max(from, bytes.lastIndexOf(LINE_BREAK, Math.max(middle - 1, 0)) + 1);
    const found = bytes.indexOf(LINE_BREAK, line);
    const next = found < 0 ? end : Math.min(found + 1, end);
    const keyEnd = bytes.indexOf(QUOTE, line + INDENT);
    const order = bytes.compare(wanted, 0, wanted.length, line + INDENT, keyEnd);
    if (order === 0) return { isThere: true, start: line, keyEnd, next };
    if (order < 0) from = next;
    else to = line;
  }
  return { isThere: false, start: from, keyEnd: from, next: from };
}

export function hasLine(lines: Lines | undefined, key: string): boolean {
  return lines !== undefined && findLine(lines, 0, lines.length, key).isThere;
}

/** @returns the pieces that the changed table consists of; `lines` itself stays as it is */
export function changeLines(lines: Lines, changes: LineChanges): Lines[] {
  const pieces: Lines[] = [];
  const add = (piece: Lines) => {
    if (piece.length === 0) return;
    if (pieces.length > 0) pieces.push(SEPARATOR);
    pieces.push(piece);
  };
  let at = 0;
  for (const key of [...changes.keys()].sort()) {
    const { start, next } = findLine(lines, at, lines.length, key);
    add(withoutSeparator(lines, at, start));
    add(Buffer.from(changes.get(key) ?? ''));
    at = next;
  }
  add(lines.subarray(at));
  return pieces;
}

function withoutSeparator(lines: Lines, from: number, to: number): Lines {
  const isLast = to === lines.length;
  return lines.subarray(from, isLast ? to : Math.max(from, to - SEPARATOR.length));
}

/** The whole text: one member after the other. */
export function linedText(fields: readonly Field[]): LinedText {
  const pieces: Buffer[] = [];
  const places = new Map<string, [number, number]>();
  let length = 0;
  const add = (piece: Buffer) => {
    pieces.push(piece);
    length += piece.length;
  };
  for (const [at, field] of fields.entries()) {
    const before = `${at === 0 ? '{\n' : ',\n'} "${field.key}": `;
    if ('value' in field) add(Buffer.from(before + field.value));
    else {
      const [open, close] = field.isList ? '[]' : '{}';
      const isEmpty = field.lines.length === 0;
      add(Buffer.from(before + (isEmpty ? open : `${open}\n`)));
      const start = length;
      for (const piece of field.lines) add(piece);
      places.set(field.key, [start, length]);
      add(Buffer.from(isEmpty ? `${close}` : `\n ${close}`));
    }
  }
  add(Buffer.from('\n}\n'));
  const bytes = Buffer.concat(pieces, length);
  const tables = new Map([...places].map(([key, place]) => [key, bytes.subarray(...place)]));
  return { bytes, tables };
}

/** Of a text that was just made: where its tables are. */
export function readTables(bytes: Buffer, keys: readonly string[]): ReadonlyMap<string, Lines> {
  const tables = new Map<string, Lines>();
  let at = 0;
  for (const key of keys) {
    const mark = `\n "${key}": `;
    const found = bytes.indexOf(mark, at);
    if (found < 0) throw new Error(`there is no ${key} in the text`);
    const start = found + mark.length + 2;
    const isEmpty = bytes[start - 1] !== LINE_BREAK;
    // No text in JSON has a line break, and no line but the table's own end is so little indented.
    const close = bytes[start - 2] === OPEN_LIST ? '\n ]' : '\n }';
    const end = isEmpty ? start : bytes.indexOf(close, start - 1);
    tables.set(key, bytes.subarray(start, end));
    at = end;
  }
  return tables;
}
