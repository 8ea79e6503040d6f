/**
 * Tokens (JWT) as specified by the distribution project: the user and the requested access. A token does not
 * say whether the user may read a repository: each request checks that against the current settings, as it
 * does for a password. So a token reveals nothing about what exists or is protected, and changed settings
 * apply at once. A user's token contains a fingerprint of the user's line in the password file: if that line
 * changes or is removed, the token becomes invalid.
 */
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import type { Gate, Proof } from './gate.js';
import type { KeyRing } from './key-ring.js';
import { type Access, parseAccess } from './scope.js';
import type { TokenKey } from './token-keys.js';

/** The issuer and the audience of tokens. */
export const SERVICE = 'dropdock';
/** The tolerated clock difference between two endpoints. */
const SKEW_SECONDS = 60;
const ALGORITHM = 'HS256';
/**
 * Loaded with the first token: it takes 6 MiB of memory, which an endpoint without passwords does not need.
 */
const loadJose = () => import('jose');

export interface TokensOptions {
  readonly gate: Gate;
  readonly keys: KeyRing;
  /** The lifetime of a token. */
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

  /** @param proof the user whose password was just verified; undefined for an anonymous token */
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

  /**
   * Returns undefined if the token is from another issuer, is expired, or the user's password has changed.
   */
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
          // Also check the age: a shortened lifetime must apply to existing tokens.
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

/** Returns a fingerprint of a line of the password file; it does not reveal the hash. */
function markOf({ name, hash }: { readonly name: string; readonly hash: string }, key: TokenKey) {
  const text = `password ${name.length}:${name}${hash}`;
  return createHmac('sha256', key.secret).update(text).digest('base64url').slice(0, 22);
}

function isSame(mark: string, claim: unknown): boolean {
  if (typeof claim !== 'string') return false;
  const [one, other] = [Buffer.from(mark), Buffer.from(claim)];
  return one.length === other.length && timingSafeEqual(one, other);
}
