/** nginx serving the published tree, with the shipped configuration. */

import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { end, start } from '../children.js';
import { until } from '../command.js';

const CONFIG = fileURLToPath(new URL('../../config/nginx/registry.conf', import.meta.url));
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

export async function startNginx(
  place: string,
  published: string,
): Promise<{ url: string; stop(): Promise<void> }> {
  mkdirSync(place, { recursive: true });
  const port = await freePort();
  const shipped = readFileSync(CONFIG, 'utf8')
    .replaceAll('/var/lib/dropdock/published', published)
    .replace('listen 80;', `listen 127.0.0.1:${port};`);
  const config = join(place, 'nginx.conf');
  const asRoot = process.getuid?.() === 0 ? 'user root;\n' : '';
  writeFileSync(
    config,
    `daemon off;\n${asRoot}worker_processes auto;\npid ${place}/pid;\nerror_log ${place}/error.log;\n` +
      `events { worker_connections 1024; }\nhttp {\naccess_log off;\n` +
      `${TEMPORARY.map((name) => `${name}_temp_path ${place}/${name};\n`).join('')}${shipped}\n}\n`,
  );
  const given = ['-p', place, '-c', config, '-e', join(place, 'error.log')];
  const child = start('nginx', given, { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  const answers = () =>
    fetch(`${url}/v2/`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until('nginx to answer', answers);
  return { url, stop: () => end(child) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
