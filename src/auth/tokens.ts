/**
 * Tokens as the distribution project specifies them (JWT): who asked, and what the token is good for.
 * Whether that one may read it is not in the token: it is judged at each request, from the settings of
 * that moment, as it is for a password. So a token tells nothing of what exists or is protected, and a
 * change of the settings counts at once. One of a user holds a mark of the line of his password: when
 * that line changes or goes, the token is void.
 */
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Gate, Proof } from './gate.js';
import type { KeyRing } from './key-ring.js';
import { type Access, parseAccess } from './scope.js';
import type { TokenKey } from './token-keys.js';

/** Who issues tokens, and whom they are for. */
export const SERVICE = 'dropdock';
/** What the clocks of two endpoints may differ by. */
const SKEW_SECONDS = 60;
const ALGORITHM = 'HS256';
/** Loaded by the first token: it is 6 MiB of memory that an endpoint without passwords need not have. */
const loadJose = () => import('jose');

export interface TokensOptions {
  readonly gate: Gate;
  readonly keys: KeyRing;
  /** How long a token is good. */
  readonly lifetimeMs: () => number;
  /** Milliseconds since the epoch. */
  readonly clockMs: () => number;
}

export interface TokenHolder {
  readonly caller:
    | { readonly kind: 'anonymous' }
    | { readonly kind: 'user'; readonly name: string };
  readonly access: readonly Access[];
}

export class Tokens {
  constructor(readonly options: TokensOptions) {}

  get lifetimeSeconds(): number {
    return Math.floor(this.options.lifetimeMs() / 1000);
  }

  /** @param proof the user whose password was right just now; undefined for nobody */
  async issue(
    proof: Extract<Proof, { kind: 'user' }> | undefined,
    access: readonly Access[],
  ): Promise<string> {
    const { keys, clockMs } = this.options;
    const { SignJWT } = await loadJose();
    const key = await keys.signing();
    const now = Math.floor(clockMs() / 1000);
    const mark = proof && markOf(proof, key);
    return new SignJWT({ access, ...(mark !== undefined && { mark }) })
      .setProtectedHeader({ alg: ALGORITHM, typ: 'JWT', kid: key.id })
      .setIssuer(SERVICE)
      .setAudience(SERVICE)
      .setSubject(proof?.name ?? '')
      .setJti(randomUUID())
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + this.lifetimeSeconds)
      .sign(key.secret);
  }

  /** Undefined for a token that is not ours, is over, or whose password is another by now. */
  async identify(token: string): Promise<TokenHolder | undefined> {
    const verified = await this.#verify(token);
    if (verified === undefined) return undefined;
    const { key, payload } = verified;
    const access = parseAccess(payload.access);
    const { sub: name } = payload;
    if (access === undefined || name === undefined) return undefined;
    if (name === '') return { caller: { kind: 'anonymous' }, access };
    const hash = await this.options.gate.hashOf(name);
    if (hash === undefined || !isSame(markOf({ name, hash }, key), payload.mark)) {
      return undefined;
    }
    return { caller: { kind: 'user', name }, access };
  }

  async #verify(token: string) {
    const { keys, clockMs } = this.options;
    const { errors, jwtVerify } = await loadJose();
    let key: TokenKey | undefined;
    try {
      const { payload } = await jwtVerify(
        token,
        async ({ kid = '' }) => {
          key = await keys.find(kid);
          if (key === undefined) throw new errors.JWKSNoMatchingKey();
          return key.secret;
        },
        {
          algorithms: [ALGORITHM],
          issuer: SERVICE,
          audience: SERVICE,
          requiredClaims: ['sub', 'exp', 'nbf'],
          // By its age as well: a lifetime that was shortened counts for tokens that are about.
          maxTokenAge: this.lifetimeSeconds,
          clockTolerance: SKEW_SECONDS,
          currentDate: new Date(clockMs()),
        },
      );
      return key && { key, payload };
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  }
}

/** Tells one line of the passwords from another, and nobody what is in it. */
function markOf({ name, hash }: { readonly name: string; readonly hash: string }, key: TokenKey) {
  const text = `password ${name.length}:${name}${hash}`;
  return createHmac('sha256', key.secret).update(text).digest('base64url').slice(0, 22);
}

function isSame(mark: string, claim: unknown): boolean {
  if (typeof claim !== 'string') return false;
  const [one, other] = [Buffer.from(mark), Buffer.from(claim)];
  return one.length === other.length && timingSafeEqual(one, other);
}
