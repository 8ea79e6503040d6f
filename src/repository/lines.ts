/**
 * Tables in a text, one line for each key, sorted, as `.snapshot.json` and the redirect file have them.
 * A publish changes few lines of many (10,000 tags: 50,000 lines, 16 MB): the next text is made of the
 * last one's bytes and of those lines. Pure.
 */

/**
 * A table's lines, in pieces: each holds some hundred of them whole, ends with what separates it from
 * the next, and is shared by all texts that have the same lines there. (One piece of 16 MB for each
 * text costs 45 ms, the most of it for memory that was not used before.)
 */
export type Lines = readonly Buffer[];

/** For each key its new line, two spaces and the key in quotes first; null where it has none any more. */
export type LineChanges = ReadonlyMap<string, string | null>;

/** A member of a text: its value, or the lines of its table. */
export type Field =
  | { readonly key: string; readonly value: string }
  | { readonly key: string; readonly isList: boolean; readonly lines: Lines };

export interface LinedText {
  /** All of it, one after the other. */
  readonly pieces: readonly Buffer[];
  readonly tables: ReadonlyMap<string, Lines>;
}

const LINE_BREAK = 0x0a;
const QUOTE = 0x22;
const OPEN_LIST = 0x5b;
/** Two spaces and a quote; then comes the key. */
const INDENT = 3;
const SEPARATOR = ',\n';
/** Bytes; one of more than twice that is cut. */
const PIECE = 128 * 1024;

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
  const piece = lines?.[pieceOf(lines, key)];
  return piece !== undefined && findLine(piece, 0, piece.length, key).isThere;
}

/** @returns the changed table's lines; `lines` itself stays as it is */
export function changeLines(lines: Lines, changes: LineChanges): Lines {
  if (changes.size === 0) return lines;
  const byPiece = new Map<number, string[]>();
  for (const key of [...changes.keys()].sort()) {
    const at = pieceOf(lines, key);
    const keys = byPiece.get(at);
    if (keys) keys.push(key);
    else byPiece.set(at, [key]);
  }
  const pieces = lines.length > 0 ? lines : [Buffer.alloc(0)];
  return pieces.flatMap((piece, at) => {
    const keys = byPiece.get(at);
    return keys ? cut(changePiece(piece, keys, changes)) : [piece];
  });
}

/** Where a key is, or would be. */
function pieceOf(lines: Lines, key: string): number {
  let [from, to] = [0, lines.length];
  while (to - from > 1) {
    const middle = (from + to) >> 1;
    if (firstKey(lines[middle] as Buffer) <= key) from = middle;
    else to = middle;
  }
  return from;
}

function firstKey(piece: Buffer): string {
  return piece.toString('latin1', INDENT, piece.indexOf(QUOTE, INDENT));
}

/** @param keys sorted */
function changePiece(piece: Buffer, keys: readonly string[], changes: LineChanges): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const key of keys) {
    const { start, next } = findLine(piece, at, piece.length, key);
    const line = changes.get(key) ?? null;
    parts.push(piece.subarray(at, start));
    if (line !== null) parts.push(Buffer.from(line + SEPARATOR));
    at = next;
  }
  return Buffer.concat([...parts, piece.subarray(at)]);
}

function cut(lines: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  while (lines.length - at > 2 * PIECE) {
    const end = lines.indexOf(LINE_BREAK, at + PIECE) + 1;
    pieces.push(lines.subarray(at, end));
    at = end;
  }
  if (at < lines.length) pieces.push(lines.subarray(at));
  return pieces;
}

/** The whole text: one member after the other. */
export function linedText(fields: readonly Field[]): LinedText {
  const pieces: Buffer[] = [];
  const tables = new Map<string, Lines>();
  let text = '{\n';
  for (const [at, field] of fields.entries()) {
    text += `${at === 0 ? '' : SEPARATOR} "${field.key}": `;
    if ('value' in field) {
      text += field.value;
      continue;
    }
    const { key, lines, isList } = field;
    const [open, close] = isList ? '[]' : '{}';
    tables.set(key, lines);
    const last = lines.at(-1);
    if (last === undefined) {
      text += `${open}${close}`;
      continue;
    }
    pieces.push(Buffer.from(`${text}${open}\n`), ...lines.slice(0, -1));
    pieces.push(last.subarray(0, last.length - SEPARATOR.length));
    text = `\n ${close}`;
  }
  pieces.push(Buffer.from(`${text}\n}\n`));
  return { pieces, tables };
}

/** Of a text that was just made: its tables. */
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
    const lines = bytes.subarray(start, end);
    tables.set(key, isEmpty ? [] : cut(Buffer.concat([lines, Buffer.from(SEPARATOR)])));
    at = end;
  }
  return tables;
}
