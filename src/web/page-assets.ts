/** What the page is sent with: its style and script, and the headers that hold it together. */
import { createHash } from 'node:crypto';
import { type Digest, digestFrom } from '../image/digest.js';
import { type Answer, answerBytes } from '../registry/answer.js';
import type { Asked } from '../registry/manifests.js';
import { type Refusal, refusalHeaders } from '../registry/refusal.js';
import type { Html } from './html.js';
import { notice, PATHS, type Visitor } from './page-layout.js';
import { SCRIPT } from './page-script.js';
import { ICON, STYLE } from './page-style.js';

/**
 * Nothing from elsewhere, nothing inline, in nobody's frame: a name that got through unescaped
 * could still do nothing.
 */
export const PAGE_HEADERS = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  // Passwords go along with every request: no other site may make use of that.
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const;

const ASSETS = new Map(
  (
    [
      [PATHS.style, 'text/css; charset=utf-8', STYLE],
      [PATHS.script, 'text/javascript; charset=utf-8', SCRIPT],
      [PATHS.icon, 'image/svg+xml', ICON],
    ] as const
  ).map(([path, type, text]) => [path as string, { type, ...withDigest(text) }]),
);

export function answerAsset(path: string, headers: Asked['headers']): Answer | undefined {
  const asset = ASSETS.get(path);
  if (asset === undefined) return undefined;
  const caching = { immutable: false, isPrivate: false };
  return answerBytes(headers, { ...asset, caching, headers: PAGE_HEADERS }, asset.bytes);
}

/** A view: what it shows depends on who asks. */
export function answerHtml({ text }: Html, headers: Asked['headers']): Answer {
  const { bytes, digest } = withDigest(text);
  const found = {
    type: 'text/html; charset=utf-8',
    digest,
    caching: { immutable: false, isPrivate: true },
    headers: { ...PAGE_HEADERS, Vary: 'Authorization' },
  };
  return answerBytes(headers, found, bytes);
}

const NOTICES: Readonly<Record<Refusal['status'], readonly [title: string, text: string]>> = {
  400: ['Not understood', 'This address means nothing here.'],
  401: [
    'A name and a password are needed',
    'What you asked for is not for everybody, or not there.',
  ],
  404: ['Not found', 'There is nothing here, or it is not for you.'],
  405: ['Not possible', 'This registry is read only.'],
  416: ['Not understood', 'This range lies outside.'],
  429: ['Too many at once', 'Try again in a moment.'],
  500: ['It cannot be read', 'The log of dropdock says why.'],
  503: ['Too much at once', 'Others are looking at large repositories. Try again in a moment.'],
};

/** A refusal for people. */
export function answerNotice(refusal: Refusal, visitor: Visitor): Answer {
  const [title, text] = NOTICES[refusal.status];
  const page = answerHtml(notice({ title, text, visitor }), {});
  const { ETag: _tag, ...headers } = page.headers;
  return {
    ...page,
    status: refusal.status,
    headers: { ...headers, 'Cache-Control': 'no-store', ...refusalHeaders(refusal) },
  };
}

function withDigest(text: string): { bytes: Buffer; digest: Digest } {
  const bytes = Buffer.from(text);
  return { bytes, digest: digestFrom('sha256', createHash('sha256').update(bytes).digest('hex')) };
}
