/** What a client called us, for the commands that people copy. */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

/** Names, addresses and a port; whatever else a Host header holds is not repeated. */
const HOST = /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

export function registryName({ headers, socket }: IncomingMessage): {
  registry: string;
  isEncrypted: boolean;
} {
  const { host = '', 'x-forwarded-proto': forwarded } = headers;
  const registry = HOST.test(host) ? host : 'localhost';
  return {
    registry,
    isEncrypted: (socket as TLSSocket).encrypted === true || forwarded === 'https',
  };
}
