/**
 * How a client is asked who it is (WWW-Authenticate). Pure. Clients differ in what they make of two
 * schemes, so which are offered, where and in which order is what the sources of the clients ask for:
 *
 * - Docker's engine takes its challenges from `/v2/` alone and answers every one of them: with Basic
 *   beside Bearer it cannot pull without a password any more. So `/v2/` offers Bearer alone.
 * - oras reads the first line; containers/image (skopeo, podman) and go-containerregistry (crane) take
 *   the first scheme they know, and with Basic first could not pull without a password. So Bearer is first.
 * - containerd, BuildKit and regclient take whichever they can answer.
 * - curl --anyauth, browsers and scripts know Basic and no Bearer. So Basic is offered wherever else
 *   something is asked for.
 */
import { type Access, formatScope } from '../auth/scope.js';
import { BASIC_CHALLENGE, type Refusal } from './refusal.js';

export interface Challenge {
  /** Where tokens are to be had. */
  readonly realm: string;
  readonly service: string;
  /** What the token must be good for; undefined where the request does not tell. */
  readonly access: Access | undefined;
  readonly withBasic: boolean;
}

export function challenges(
  { realm, service, access, withBasic }: Challenge,
  { token }: Refusal,
): string[] {
  const parameters = {
    realm,
    service,
    ...(access && { scope: formatScope(access) }),
    ...(token && { error: token }),
  };
  const text = Object.entries(parameters).map(([name, value]) => `${name}="${value}"`);
  return [`Bearer ${text.join(',')}`, ...(withBasic ? [BASIC_CHALLENGE] : [])];
}
