/**
 * Tables in a text, one sorted line for each key, as in `.snapshot.json` and in the redirect file. A publish
 * changes few of many lines (10,000 tags: 50,000 lines, 16 MB), so the next text reuses the bytes of the
 * previous one and replaces only changed lines. Pure.
 */

/**
 * The lines of a table, in pieces. Each piece contains some hundred complete lines, ends with the separator,
 * and is shared by all texts that have the same lines there. (A single piece of 16 MB for each text costs 45
 * ms, mostly for touching new memory.)
 */
export type Lines = readonly Buffer[];

/** The new line for each key, starting with two spaces and the quoted key; null if the key is removed. */
export type LineChanges = ReadonlyMap<string, string | null>;

/** A member of the text: a value, or a table with its lines. */
export type Field =
  | { readonly key: string; readonly value: string }
  | { readonly key: string; readonly isList: boolean; readonly lines: Lines };

export interface LinedText {
  /** The complete text, in order. */
  readonly pieces: readonly Buffer[];
  readonly tables: ReadonlyMap<string, Lines>;
}

const LINE_BREAK = 0x0a;
const QUOTE = 0x22;
const OPEN_LIST = 0x5b;
/** Two spaces and a quote precede the key. */
const INDENT = 3;
const SEPARATOR = ',\n';
/** Bytes. A piece of more than twice this size is split. */
const PIECE = 128 * 1024;

export interface FoundLine {
  readonly isThere: boolean;
  /** The offset of the line, or where it would be inserted. */
  readonly start: number;
  /** The offset of the end of its key. */
  readonly keyEnd: number;
  /** The offset of the next line. */
  readonly next: number;
}

/**
 * Finds a line by binary search. Keys are ASCII without quotes; the lines are in `bytes` from `start` to
 * `end`.
 */
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

/** @returns the lines of the changed table; `lines` is not modified */
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

/** Returns the index of the piece that contains the key, or would contain it. */
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

/** Builds the text from its members. */
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

/** Finds the tables in a text generated by dropdock. */
export function readTables(bytes: Buffer, keys: readonly string[]): ReadonlyMap<string, Lines> {
  const tables = new Map<string, Lines>();
  let at = 0;
  for (const key of keys) {
    const mark = `\n "${key}": `;
    const found = bytes.indexOf(mark, at);
    if (found < 0) throw new Error(`the text has no table ${key}`);
    const start = found + mark.length + 2;
    const isEmpty = bytes[start - 1] !== LINE_BREAK;
    // JSON strings contain no raw line break, and only the end of a table is indented by one space.
    const close = bytes[start - 2] === OPEN_LIST ? '\n ]' : '\n }';
    const end = isEmpty ? start : bytes.indexOf(close, start - 1);
    const lines = bytes.subarray(start, end);
    tables.set(key, isEmpty ? [] : cut(Buffer.concat([lines, Buffer.from(SEPARATOR)])));
    at = end;
  }
  return tables;
}
