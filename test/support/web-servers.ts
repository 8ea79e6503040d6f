/**
 * Common web servers, run in the foreground with the shipped configurations: only addresses and paths are
 * replaced. Runs as root or as another user.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openTempDir } from './for-everybody.js';
import { tempDir } from './temp-dir.js';
import { waitFor } from './wait-for.js';

const CONFIG = fileURLToPath(new URL('../../config/', import.meta.url));
const IS_ROOT = process.getuid?.() === 0;

export interface WebServer {
  readonly url: string;
  /** What it said of errors. */
  errors(): string;
  stop(): Promise<void>;
}

/** @param surroundings what stands in the http block besides */
export function nginxAlone(published: string, surroundings = ''): Promise<WebServer> {
  return startNginx('nginx/registry.conf', { published, surroundings });
}

/** @param endpoint where dropdock listens: `127.0.0.1:5000` */
export function nginxWithDropdock(
  published: string,
  endpoint: string,
  surroundings = '',
): Promise<WebServer> {
  return startNginx('nginx/with-dropdock.conf', { published, endpoint, surroundings });
}

/**
 * @param store where it listens: `127.0.0.1:7480`
 * @param path bucket and prefix
 */
export async function nginxBeforeStore(store: string, path: string): Promise<WebServer> {
  const text = shippedConfig('nginx/objects.conf', '')
    .replaceAll('/images/registry/', `/${path}/`)
    .replace('server 127.0.0.1:7480;', `server ${store};`)
    .replace('Host s3.example.com;', `Host ${store};`)
    .replace('/var/lib/nginx/dropdock', join(tempDir(), 'cache'));
  return runNginx(text);
}

/** Each request to the next of them. @param endpoints where they listen: `127.0.0.1:5000` */
export function nginxInTurns(endpoints: readonly string[]): Promise<WebServer> {
  const servers = endpoints.map((each) => `server ${each};`).join(' ');
  return runNginx(
    `upstream endpoints { ${servers} }\nserver { listen 80;\n` +
      'location / { proxy_pass http://endpoints; proxy_set_header Host $http_host; } }',
  );
}

function startNginx(
  file: string,
  {
    published,
    surroundings,
    endpoint = '127.0.0.1:5000',
  }: { published: string; surroundings: string; endpoint?: string },
): Promise<WebServer> {
  const shipped = shippedConfig(file, published).replace(
    'server 127.0.0.1:5000;',
    `server ${endpoint};`,
  );
  return runNginx(`${surroundings}\n${shipped}`);
}

async function runNginx(text: string): Promise<WebServer> {
  const place = tempDir();
  const port = await freePort();
  const servers = text.replace('listen 80;', `listen 127.0.0.1:${port};`).replace(IPV6, '');
  writeFileSync(
    join(place, 'nginx.conf'),
    `daemon off;\n${IS_ROOT ? 'user root;' : ''}\nworker_processes 2;\npid ${place}/pid;\n` +
      `error_log ${place}/error.log warn;\nevents { worker_connections 1024; }\n` +
      `http {\naccess_log off;\n${temporaryPaths(place)}\n${servers}\n}\n`,
  );
  const given = ['-p', place, '-c', join(place, 'nginx.conf'), '-e', join(place, 'error.log')];
  return started(spawn('nginx', given), { port, place });
}

const IPV6 = /^ *listen \[::\]:80;$/m;

function temporaryPaths(place: string): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${place}/${name};`)
    .join('\n');
}

const MODULES = [
  'mpm_event',
  'authz_core',
  'authz_host',
  'alias',
  'headers',
  'rewrite',
  'setenvif',
];

/** @param surroundings lines of the server's configuration; `load:<module>` loads one */
export async function apache(
  published: string,
  surroundings: readonly string[] = [],
): Promise<WebServer> {
  const place = openTempDir();
  const port = await freePort();
  const load = (name: string) =>
    `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`;
  mkdirSync(join(place, 'www'));
  writeFileSync(
    join(place, 'apache.conf'),
    [
      ...MODULES.map(load),
      // Present on every Debian: what it would make of a tag called 1.0.html must not matter.
      load('mime'),
      'TypesConfig /etc/mime.types',
      ...surroundings.map((line) => line.replace(/^load:(.*)$/, (_, name: string) => load(name))),
      `ServerName 127.0.0.1\nServerRoot ${place}\nDocumentRoot ${place}/www`,
      `Listen 127.0.0.1:${port}\nPidFile ${place}/pid\nErrorLog ${place}/error.log`,
      ...(IS_ROOT ? ['User www-data', 'Group www-data'] : []),
      shippedConfig('apache/dropdock.conf', published),
    ].join('\n'),
  );
  const child = spawn('apache2', ['-X', '-f', join(place, 'apache.conf'), '-D', 'FOREGROUND']);
  return started(child, { port, place });
}

/** A Debian's own configurations, with its default sites; only addresses and places are others. */
export const DEBIAN = { nginx: '/etc/nginx', apache: '/etc/apache2' } as const;

/**
 * Debian's nginx with its default site, and these files in /etc/nginx/conf.d.
 * @param files by name; they listen on port 80
 * @param sites more files in sites-enabled
 */
export async function debianNginx(
  files: Readonly<Record<string, string>>,
  sites: Readonly<Record<string, string>> = {},
): Promise<WebServer> {
  const place = tempDir();
  chmodSync(place, 0o755);
  const port = await freePort();
  const moved = (text: string) =>
    text
      .replace(/listen 80\b/g, `listen 127.0.0.1:${port}`)
      .replace(/listen \[::\]:80\b/g, `listen [::1]:${port}`)
      .replaceAll(DEBIAN.nginx, `${place}/nginx`)
      .replace(/\/(run|var\/log\/nginx|var\/www)\//g, `${place}/`);
  cpSync(DEBIAN.nginx, join(place, 'nginx'), { recursive: true, dereference: true });
  mkdirSync(join(place, 'html'));
  writeFileSync(join(place, 'html/index.html'), 'the default site');
  const write = (path: string, text: string) =>
    writeFileSync(join(place, 'nginx', path), moved(text));
  for (const own of ['nginx.conf', 'sites-enabled/default']) {
    write(own, readFileSync(join(DEBIAN.nginx, own), 'utf8'));
  }
  write('conf.d/00-places.conf', temporaryPaths(place));
  for (const [name, text] of Object.entries(files)) write(`conf.d/${name}`, text);
  for (const [name, text] of Object.entries(sites)) write(`sites-enabled/${name}`, text);
  const given = ['-c', join(place, 'nginx/nginx.conf'), '-e', join(place, 'error.log')];
  return started(spawn('nginx', [...given, '-g', 'daemon off;']), { port, place });
}

/** Debian's Apache with its default site, and our file as `a2enconf` enables it. */
export async function debianApache(published: string): Promise<WebServer> {
  const place = tempDir();
  chmodSync(place, 0o755);
  const port = await freePort();
  const root = join(place, 'apache2');
  cpSync(DEBIAN.apache, root, { recursive: true, verbatimSymlinks: true });
  const edit = (path: string, from: RegExp, to: string) =>
    writeFileSync(join(root, path), readFileSync(join(root, path), 'utf8').replace(from, to));
  edit('ports.conf', /^Listen 80$/m, `Listen 127.0.0.1:${port}`);
  edit('sites-available/000-default.conf', /\*:80>/, `*:${port}>`);
  for (const name of ['headers', 'rewrite', 'setenvif']) {
    const link = join(root, `mods-enabled/${name}.load`);
    if (!existsSync(link)) symlinkSync(`../mods-available/${name}.load`, link);
  }
  writeFileSync(
    join(root, 'conf-available/dropdock.conf'),
    shippedConfig('apache/dropdock.conf', published),
  );
  symlinkSync('../conf-available/dropdock.conf', join(root, 'conf-enabled/dropdock.conf'));
  const user = IS_ROOT ? 'www-data' : `#${process.getuid?.()}`;
  const env = {
    ...process.env,
    APACHE_RUN_USER: user,
    APACHE_RUN_GROUP: IS_ROOT ? 'www-data' : `#${process.getgid?.()}`,
    APACHE_PID_FILE: join(place, 'pid'),
    APACHE_RUN_DIR: place,
    APACHE_LOCK_DIR: place,
    APACHE_LOG_DIR: place,
  };
  const child = spawn('apache2', ['-X', '-d', root, '-D', 'FOREGROUND'], { env });
  return started(child, { port, place });
}

export function shippedConfig(file: string, published: string): string {
  const text = readFileSync(join(CONFIG, file), 'utf8');
  return text.replaceAll('/var/lib/dropdock/published', published);
}

async function started(
  child: ChildProcess,
  { port, place }: { port: number; place: string },
): Promise<WebServer> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (data) => {
      output += String(data);
    });
  }
  const log = join(place, 'error.log');
  const errors = () => output + (existsSync(log) ? readFileSync(log, 'utf8') : '');
  const url = `http://127.0.0.1:${port}`;
  await waitFor(`${child.spawnfile} to answer`, async () => {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended: ${errors()}`);
    return fetch(url).then(
      () => true,
      () => false,
    );
  });
  return {
    url,
    errors,
    stop: async () => {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
