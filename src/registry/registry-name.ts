/**
 * What a client called us, for the commands that people copy and for the address of the token endpoint.
 * A proxy that asks us under another name tells which one it was asked under. Whoever makes these
 * headers up is the only one to be told what he said: what is made of them is never kept, or asked for again.
 */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

/** Names, addresses and a port; whatever else a Host header holds is not repeated. */
const HOST = /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

export function registryName({ headers, socket }: IncomingMessage): {
  registry: string;
  isEncrypted: boolean;
} {
  const { host = '', 'x-forwarded-proto': forwarded } = headers;
  // The first of several proxies is the one that the client knows.
  const [behind = ''] = String(headers['x-forwarded-host'] ?? '').split(',');
  const registry = [behind.trim(), host].find((name) => HOST.test(name)) ?? 'localhost';
  return {
    registry,
    isEncrypted:
      (socket as TLSSocket).encrypted === true || /^https\b/i.test(String(forwarded ?? '')),
  };
}
