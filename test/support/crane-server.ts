/**
 * A small stand-in for Crane, following its published rules (pulp/crane, 3.0 to 3.3): it loads the
 * redirect files, reloads them when a directory's time has increased, and answers every pull with a
 * redirect.
 */
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { CraneReader } from './crane-reader.js';
import type { WebServer } from './web-servers.js';

const PATH = /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/]+)$/;

/** @param pollMs the real one has 60,000 */
export async function crane(dataDirectory: string, pollMs: number): Promise<WebServer> {
  let data = new CraneReader(dataDirectory);
  let loadedMs = newestDirectory(dataDirectory);
  let errors = '';
  const timer = setInterval(() => {
    try {
      const newestMs = newestDirectory(dataDirectory);
      if (newestMs <= loadedMs) return;
      data = new CraneReader(dataDirectory);
      loadedMs = newestMs;
    } catch (error) {
      errors += `${(error as Error).message}\n`;
    }
  }, pollMs);
  const server = createServer(({ url = '', headers }, response) => {
    if (url === '/v2/') {
      const version = { 'Docker-Distribution-API-Version': 'registry/2.0' };
      return response.writeHead(200, { 'Content-Type': 'application/json', ...version }).end('{}');
    }
    const [, name = '', kind = '', reference = ''] = PATH.exec(url) ?? [];
    const accept = (headers.accept ?? '')
      .split(',')
      .map((type) => (type.split(';')[0] ?? '').trim());
    const location =
      kind === 'manifests'
        ? data.manifest(name, reference, accept)
        : data.path(name, `${kind}/${reference}`);
    if (location === undefined) {
      const body = JSON.stringify({ errors: [{ code: '404', message: 'Not Found' }] });
      return response.writeHead(404, { 'Content-Type': 'application/json' }).end(body);
    }
    return response.writeHead(302, { Location: location }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    errors: () => errors,
    stop: async () => {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function newestDirectory(directory: string): number {
  const below = readdirSync(directory).filter((name) =>
    statSync(join(directory, name), { throwIfNoEntry: false })?.isDirectory(),
  );
  const times = below.map((name) => newestDirectory(join(directory, name)));
  return Math.max(statSync(directory).mtimeMs, ...times);
}
