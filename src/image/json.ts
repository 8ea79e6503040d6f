/** Hostile JSON in, plain values out: size, depth and shape are checked, nothing is trusted. */
import type { z } from 'zod';
import { DropdockError } from '../errors.js';
import { JSON_DEPTH_MAX } from './limits.js';

/**
 * @param where the path or digest an error names
 * @throws json.too-large, json.too-deep, json.invalid
 */
export function parseJson<T>(bytes: Buffer, where: string, schema: z.ZodType<T>, max: number): T {
  if (bytes.length > max) {
    throw new DropdockError('json.too-large', `${where} is longer than ${max} bytes.`, {
      path: where,
    });
  }
  return checkShape(parseSyntax(bytes, where), where, schema);
}

/** Only syntax and depth: what is not yet there in full fails here, what is wrong fails later. */
export function parseSyntax(bytes: Buffer, where: string): unknown {
  checkDepth(bytes, where);
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new DropdockError('json.invalid', `${where} is no JSON.`, { path: where }, cause);
  }
}

export function checkShape<T>(value: unknown, where: string, schema: z.ZodType<T>): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = issue?.path.map(String).join('.') || 'document';
  throw new DropdockError(
    'json.invalid',
    `${where}: ${field}: ${issue?.message ?? 'wrong shape'}.`,
    { path: where, field },
  );
}

/** False for a document that is empty or torn, as one that is being written may be. */
export function isWholeJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** Counts brackets outside strings, before a recursive parser or validator sees the document. */
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
