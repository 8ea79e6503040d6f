/** The page's style and script, and its security headers. */
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
 * No foreign content, nothing inline, no framing: even a name that got through unescaped could run no script.
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
  // Browsers send the password with every request: other sites must not be able to use it.
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

/** Answers with a view; its content depends on the user. */
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
  400: ['Bad request', 'This address is not valid.'],
  401: ['Sign-in required', 'This page does not exist, or you have to sign in to see it.'],
  404: ['Not found', 'This page does not exist, or you may not see it.'],
  405: ['Method not allowed', 'This registry is read-only.'],
  416: ['Bad request', 'The range is outside the content.'],
  429: ['Too many requests', 'Try again in a moment.'],
  500: ['Internal error', 'The repository cannot be read. The log of dropdock has the reason.'],
  503: ['Overloaded', 'Too many large repositories are being read. Try again in a moment.'],
};

/** Answers with a refusal as a page. */
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
