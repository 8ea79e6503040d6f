/**
 * Builds the authentication challenge (WWW-Authenticate). Pure. Clients handle two schemes differently. Which
 * schemes are offered, where, and in which order follows from the source code of the clients:
 *
 * - Docker's engine takes its challenges from `/v2/` only and answers all of them: with Basic beside Bearer,
 *   it can no longer pull without a password. So `/v2/` offers Bearer only.
 * - oras reads the first line. containers/image (skopeo, podman) and go-containerregistry (crane) use the
 *   first scheme they know; with Basic first, they cannot pull without a password. So Bearer is first.
 * - containerd, BuildKit and regclient use any scheme they support.
 * - curl --anyauth, browsers and scripts support Basic and not Bearer. So every other path also offers Basic.
 */
import { type Access, formatScope } from '../auth/scope.js';
import { BASIC_CHALLENGE, type Refusal } from './refusal.js';

export interface Challenge {
  /** The URL of the token endpoint. */
  readonly realm: string;
  readonly service: string;
  /** The access that the token must grant; undefined if the request does not determine it. */
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
