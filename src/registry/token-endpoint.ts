/**
 * The token endpoint: GET as in the distribution project's token specification, POST as in its OAuth2
 * specification. A valid user name and password give a token of that user; no credentials give an anonymous
 * token; a wrong password gives no token, so `docker login` fails. The endpoint does not look up
 * repositories: the token grants the requested scope, and the response is the same for repositories that
 * exist, do not exist or are forbidden.
 */
import type { IncomingMessage } from 'node:http';
import type { Gate, Proof } from '../auth/gate.js';
import { type Credentials, parseAuthorization } from '../auth/htpasswd.js';
import { formatScope, parseScopes } from '../auth/scope.js';
import type { Tokens } from '../auth/tokens.js';
import type { Answer } from './answer.js';
import type { Refusal } from './refusal.js';

export interface TokenEndpointOptions {
  readonly gate: Gate;
  readonly tokens: Tokens;
  /** Returns true if anonymous callers may read anything. */
  readonly anonymous: () => boolean;
}

export interface TokenAnswer {
  readonly answer: Answer | Refusal;
  /** The user name of a failed login. */
  readonly refused?: string;
}

const FORM_BYTES_MAX = 16 * 1024;
/**
 * The client sends the token in a header, and many servers (this one included) accept 16 KiB of headers in
 * total.
 */
const TOKEN_LENGTH_MAX = 8 * 1024;

const REFRESH_REFUSED: Refusal = { status: 401, code: 'UNAUTHORIZED' };

interface Wanted {
  readonly said: Credentials | 'anonymous' | 'malformed';
  readonly scopes: readonly string[];
  /** True for POST, whose response has more fields. */
  readonly isForm: boolean;
}

export async function answerToken(
  request: IncomingMessage,
  query: URLSearchParams,
  { gate, tokens, anonymous }: TokenEndpointOptions,
): Promise<TokenAnswer> {
  const wanted = await readWanted(request, query);
  if ('status' in wanted) return { answer: wanted };
  const proof = await prove(wanted.said, gate);
  if (proof?.kind === 'busy') return { answer: { status: 429, code: 'TOOMANYREQUESTS' } };
  if (proof?.kind === 'refused') {
    return { answer: { status: 401, code: 'UNAUTHORIZED' }, refused: proof.name };
  }
  if (proof === undefined && !anonymous()) {
    return { answer: { status: 401, code: 'UNAUTHORIZED' } };
  }
  const access = parseScopes(wanted.scopes);
  const token = await tokens.issue(proof, access);
  if (token.length > TOKEN_LENGTH_MAX) {
    return {
      answer: { status: 400, code: 'UNSUPPORTED', message: 'too many scopes for one token' },
    };
  }
  const scope = access.map(formatScope).join(' ');
  return {
    answer: answerJson({
      token,
      access_token: token,
      expires_in: tokens.lifetimeSeconds,
      // No issued_at: without it, clients use their own clock, which may differ from the server's.
      ...(wanted.isForm && { token_type: 'Bearer', scope }),
    }),
  };
}

async function readWanted(
  request: IncomingMessage,
  query: URLSearchParams,
): Promise<Wanted | Refusal> {
  const { method, headers } = request;
  const inHeader = parseAuthorization(headers.authorization);
  if (method !== 'POST') {
    return { said: inHeader, scopes: query.getAll('scope'), isForm: false };
  }
  const form = await readForm(request);
  if (form === undefined) {
    return {
      status: 400,
      code: 'UNSUPPORTED',
      message: 'the request body must be a form of at most 16 KiB',
    };
  }
  const kind = form.get('grant_type');
  // dropdock issues no refresh tokens: this one comes from another registry, so the client must send the
  // password.
  if (kind === 'refresh_token') return REFRESH_REFUSED;
  if (kind !== 'password') {
    return { status: 400, code: 'UNSUPPORTED', message: 'grant_type must be password' };
  }
  const [user, password] = [form.get('username'), form.get('password')];
  const said = user === null || password === null ? inHeader : { user, password };
  return { said, scopes: form.getAll('scope'), isForm: true };
}

/**
 * Returns undefined if the body is too long or the client disconnected. The rest of the body stays unread:
 * the connection is closed after the response.
 */
function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= FORM_BYTES_MAX) chunks.push(chunk);
      else resolve(undefined);
    });
    request.on('end', () => {
      resolve(new URLSearchParams(Buffer.concat(chunks).toString('utf8')));
    });
    request.on('error', () => resolve(undefined));
  });
}

/** Returns undefined if there are no credentials. */
async function prove(said: Wanted['said'], gate: Gate): Promise<Proof | undefined> {
  if (said === 'malformed') return { kind: 'refused', name: '' };
  if (said === 'anonymous' || (said.user === '' && said.password === '')) return undefined;
  return gate.check(said);
}

function answerJson(value: object): Answer {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  const headers = {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
  };
  return { status: 200, headers, body };
}
