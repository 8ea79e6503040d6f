/** Parses a multipart/byteranges body (RFC 9110, 14.6) strictly. */
import type { Reply } from './ask.js';

export interface ReceivedPart {
  readonly type: string | undefined;
  /** `2-5/12` */
  readonly range: string;
  readonly bytes: Buffer;
}

/** @throws where anything of it is not as the RFC has it */
export function readByteRanges({
  status,
  headers,
  body,
}: Pick<Reply, 'status' | 'headers' | 'body'>): ReceivedPart[] {
  if (status !== 206) throw new Error(`status ${status}`);
  if (headers['content-range'] !== undefined) throw new Error('a Content-Range for the whole');
  const boundary = /^multipart\/byteranges; boundary=([0-9A-Za-z]{1,70})$/.exec(
    headers['content-type'] ?? '',
  )?.[1];
  if (boundary === undefined) throw new Error(`type ${headers['content-type']}`);
  if (Number(headers['content-length']) !== body.length) throw new Error('another length');
  const parts: ReceivedPart[] = [];
  for (let at = 0; ; ) {
    // What comes before the first part is empty, and may be no line at all.
    const line = `${at === 0 && body[0] === 0x2d ? '' : '\r\n'}--${boundary}`;
    if (body.toString('latin1', at, at + line.length) !== line) throw new Error(`no line at ${at}`);
    at += line.length;
    if (body.toString('latin1', at) === '--\r\n') return parts;
    const end = body.indexOf('\r\n\r\n', at);
    const head = body.toString('latin1', at, end);
    const [, from, to, size] = /\r\nContent-Range: bytes (\d+)-(\d+)\/(\d+)/i.exec(head) ?? [];
    if (end < 0 || size === undefined) throw new Error(`no range at ${at}`);
    const start = end + 4;
    at = start + Number(to) - Number(from) + 1;
    const type = /\r\nContent-Type: ([^\r]+)/i.exec(head)?.[1];
    parts.push({ type, range: `${from}-${to}/${size}`, bytes: body.subarray(start, at) });
  }
}
