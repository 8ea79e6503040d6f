/** Parses untrusted JSON: checks size, depth and structure. */
import * as v from 'valibot';
import { DropdockError } from '../errors.js';
import { JSON_DEPTH_MAX } from './limits.js';

/** A valibot schema, and the type of its result. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/** Must precede an object schema: without it, the library accepts a list as an object. */
export const noList = v.custom<object>(
  (value) => !Array.isArray(value),
  'expected an object, not a list',
);

/** An object with any members. */
export const anyObject = v.pipe(noList, v.looseObject({}));

const isMap = (value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * A map with arbitrary names. The library's own `record` silently ignores `constructor` and `prototype`, but
 * repositories can have these names.
 */
export function mapOf<T>(name: Schema<string>, part: Schema<T>) {
  return v.pipe(
    v.custom<Readonly<Record<string, unknown>>>(isMap, 'expected an object'),
    v.rawTransform(({ dataset: { value: input }, addIssue, NEVER }): Record<string, T> => {
      const parts: [string, T][] = [];
      for (const [key, value] of Object.entries(input)) {
        if (key === '__proto__') continue;
        const named = v.safeParse(name, key, { abortEarly: true });
        const read = v.safeParse(part, value, { abortEarly: true });
        if (named.success && read.success) {
          parts.push([key, read.output]);
          continue;
        }
        const [{ message, expected, path = [] }] = named.issues ?? read.issues ?? NEVER;
        const step = { type: 'object', origin: 'value', input, key, value } as const;
        addIssue({ message, path: [step, ...path], ...(expected !== null && { expected }) });
        return NEVER;
      }
      return Object.fromEntries(parts);
    }),
  );
}

/** A map of strings. */
export const stringMap = mapOf(v.string(), v.string());

/** A number of bytes. */
export const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** An error message quotes only the beginning of an untrusted value. */
const RECEIVED_MAX = 60;

v.setGlobalMessage(({ expected, received }) => {
  if (received === 'undefined') return 'is missing';
  const is = received.length > RECEIVED_MAX ? `${received.slice(0, RECEIVED_MAX)}…` : received;
  return `expected ${expected ?? 'something else'}, not ${is}`;
});

/**
 * @param where the path or digest for error messages
 * @throws json.too-large, json.too-deep, json.invalid
 */
export function parseJson<T>(bytes: Buffer, where: string, schema: Schema<T>, max: number): T {
  if (bytes.length > max) {
    throw new DropdockError('json.too-large', `${where} is longer than ${max} bytes.`, {
      path: where,
    });
  }
  return checkShape(parseSyntax(bytes, where), where, schema);
}

/** Checks only syntax and depth: incomplete data fails here, invalid data fails later. */
export function parseSyntax(bytes: Buffer, where: string): unknown {
  checkDepth(bytes, where);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new DropdockError('json.invalid', `${where} is not valid JSON.`, { path: where }, cause);
  }
}

export function checkShape<T>(value: unknown, where: string, schema: Schema<T>): T {
  const parsed = v.safeParse(schema, value, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const field = v.getDotPath(issue) || 'document';
  throw new DropdockError('json.invalid', `${where}: ${field}: ${issue.message}.`, {
    path: where,
    field,
  });
}

/** False for an empty or incomplete document, which may still be written. */
export function isWholeJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** Counts brackets outside strings, before a recursive parser or validator reads the document. */
function checkDepth(bytes: Buffer, where: string): void {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > JSON_DEPTH_MAX) {
        throw new DropdockError('json.too-deep', `${where} is nested too deeply.`, { path: where });
      }
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}
