/**
 * The host name that a client used for this registry: for the commands shown to users, and for the URL of the
 * token endpoint. A reverse proxy passes the original name in a header. A forged header affects only the
 * response to its own request: the result is never stored or cached.
 */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

/** Host names, IP addresses and a port; any other content of a Host header is ignored. */
const HOST = /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

export function registryName({ headers, socket }: IncomingMessage): {
  registry: string;
  isEncrypted: boolean;
} {
  const { host = '', 'x-forwarded-proto': forwarded } = headers;
  // With several proxies, the first name is the one that the client used.
  const [behind = ''] = String(headers['x-forwarded-host'] ?? '').split(',');
  const registry = [behind.trim(), host].find((name) => HOST.test(name)) ?? 'localhost';
  return {
    registry,
    isEncrypted:
      (socket as TLSSocket).encrypted === true || /^https\b/i.test(String(forwarded ?? '')),
  };
}
