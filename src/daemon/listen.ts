/** Parses the setting of an address to listen on. */
import type { Listen } from '../registry/server.js';

/** @param listen `127.0.0.1:5000`, `[::1]:5000`, `:5000` for all addresses, or the path of a Unix socket */
export function placeOf(listen: string | null): Listen | undefined {
  if (listen === null) return undefined;
  if (listen.startsWith('/')) return { path: listen };
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const port = Number(listen.slice(colon + 1));
  return host === '' ? { port } : { host, port };
}
