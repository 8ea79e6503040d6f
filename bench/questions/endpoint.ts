/** Compares the endpoint with nginx over the same tree, and with a registry. */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, seconds, shell } from '../command.js';
import { checkPull, Daemon, spentText } from '../daemon.js';
import { makeLayers } from '../layers.js';
import { type Image, image, writeLayout } from '../layout.js';
import { DockerRegistry } from '../peers/docker-registry.js';
import { startNginx } from '../peers/nginx.js';
import {
  type Answer,
  ahead,
  type Context,
  interleave,
  type Question,
  type Row,
} from '../question.js';

const CLIENTS = 16;
const ACCEPT = 'Accept: application/vnd.oci.image.manifest.v1+json';
const NAMES = ['nginx', 'registry', 'ours'] as const;

type Urls = Readonly<Record<(typeof NAMES)[number], string>>;

const PEERS = {
  nginx: 'nginx over the same tree',
  registry: 'docker-registry',
} as const;

export const endpoint: Question = {
  name: 'endpoint',
  asks: `A blob of 1 GiB (${CLIENTS} times \`curl\`) and a manifest (\`wrk -c${CLIENTS}\`), requested without a pause.`,
  rounds: 3,
  run: async (context): Promise<Answer> => {
    const { directory, quick } = context;
    const [layer] = await makeLayers(directory, {
      count: 1,
      bytes: (quick ? 128 : 1024) * 1024 ** 2,
    });
    if (!layer) throw new Error('no layer');
    const dropped = image([layer], 'endpoint');
    const registry = await DockerRegistry.start(join(directory, 'endpoint-registry'));
    const daemon = await Daemon.start(context, join(directory, 'endpoint'));
    await publish(directory, dropped, registry, daemon);
    const nginx = await startNginx(join(directory, 'endpoint-nginx'), daemon.published);
    const urls = { nginx: nginx.url, registry: `http://${registry.address}`, ours: daemon.url };
    for (const url of Object.values(urls)) await checkBytes(url, dropped);
    const rows = [
      await blobs(context, urls, layer.digest, daemon),
      ...(await manifests(context, urls)),
    ];
    await Promise.all([nginx.stop(), registry.stop(), daemon.stop()]);
    for (const name of ['endpoint-registry', 'endpoint', 'endpoint-nginx']) {
      rmSync(join(directory, name), { recursive: true });
    }
    return {
      rows,
      notes: [
        'Warm page cache; the clients share the cores with the server. nginx uses the shipped configuration with `access_log off`; docker-registry logs no access ' +
          'either.',
      ],
    };
  },
};

async function publish(
  directory: string,
  dropped: Image,
  registry: DockerRegistry,
  { inbox, web }: Daemon,
): Promise<void> {
  const drop = join(directory, 'endpoint-drop');
  writeLayout(drop, [{ image: dropped, tag: '1.0' }], { layers: 'linked' });
  await registry.push(`oci:${drop}:1.0`, 'app:1.0');
  renameSync(drop, join(inbox, 'app:1.0'));
  await web.moved('app', undefined);
}

async function checkBytes(url: string, { manifest, layers }: Image): Promise<void> {
  await checkPull(url, { name: 'app', tag: '1.0', digest: manifest.digest });
  const [layer] = layers;
  const said = await shell('curl -sf "$1" | sha256sum', `${url}/v2/app/blobs/${layer?.digest}`);
  if (said.slice(0, 64) !== layer?.digest.slice(7)) throw new Error(`${url} serves something else`);
}

async function blobs(context: Context, urls: Urls, digest: string, daemon: Daemon): Promise<Row> {
  const ask = (url: string) => download(context, `${url}/v2/app/blobs/${digest}`);
  const samples = await interleave(context, {
    nginx: () => ask(urls.nginx),
    registry: () => ask(urls.registry),
    ours: () => daemon.measured(() => ask(urls.ours)),
  });
  const ours = { name: 'dropdock', samples: samples.ours };
  const nginx = { name: PEERS.nginx, samples: samples.nginx };
  const registry = { name: PEERS.registry, samples: samples.registry };
  return {
    title: `blobs of 1 GiB, ${CLIENTS} clients`,
    unit: 'MiB/s',
    ours,
    peers: [nginx, registry],
    goals: [ahead(0.6, ours, nginx), ahead(1, ours, registry)],
    spent: spentText(daemon.spent, context.rounds + 1),
  };
}

async function manifests(context: Context, urls: Urls): Promise<Row[]> {
  const tails: Record<string, number[]> = {};
  const ask = async (name: (typeof NAMES)[number], round: number) => {
    const { perS, p99Ms } = await wrk(context, `${urls[name]}/v2/app/manifests/1.0`);
    if (round > 0) tails[name] = [...(tails[name] ?? []), p99Ms];
    return perS;
  };
  const rates = await interleave(context, {
    nginx: (round) => ask('nginx', round),
    registry: (round) => ask('registry', round),
    ours: (round) => ask('ours', round),
  });
  const row = (title: string, unit: 'per s' | 'ms', of: Record<string, number[]>) => ({
    title,
    unit,
    ours: { name: 'dropdock', samples: of.ours ?? [] },
    peers: (['nginx', 'registry'] as const).map((name) => ({
      name: PEERS[name],
      samples: of[name] ?? [],
    })),
  });
  const rate = row(`a manifest by tag, ${CLIENTS} clients`, 'per s', rates);
  const [, registry] = rate.peers;
  const goals = registry ? [ahead(1, rate.ours, registry)] : [];
  return [
    { ...rate, goals },
    { ...row('the same, p99', 'ms', tails), goals: [] },
  ];
}

/** wrk reads 8 KiB at a time and would be the bottleneck; clients that pull read like curl. */
const DOWNLOAD = `
seq "$1" | xargs -P "$1" -I{} sh -c 'curl -s -o /dev/null --max-time "$1" -w "%{size_download}\\n" "$2" || true' sh "$2" "$3"
`;

/** @returns MiB per second of all clients together */
async function download({ quick }: Context, url: string): Promise<number> {
  const begin = performance.now();
  const said = await shell(DOWNLOAD, String(CLIENTS), quick ? '1' : '2', url);
  const bytes = said.split('\n').reduce((sum, each) => sum + Number(each), 0);
  return bytes / 1024 ** 2 / seconds(begin);
}

interface Asked {
  readonly perS: number;
  readonly p99Ms: number;
}

async function wrk({ quick }: Context, url: string): Promise<Asked> {
  const given = ['-t1', `-c${CLIENTS}`, `-d${quick ? 1 : 2}s`, '--latency', '-H', ACCEPT];
  const said = await command('wrk', ...given, url);
  if (/Non-2xx|Socket errors/.test(said)) throw new Error(said);
  const [, perS = ''] = /Requests\/sec:\s+([\d.]+)/.exec(said) ?? [];
  const [, tail = '', time = ''] = /99%\s+([\d.]+)(us|ms|s)/.exec(said) ?? [];
  const ms = { us: 1 / 1000, ms: 1, s: 1000 }[time] ?? Number.NaN;
  return { perS: Number(perS), p99Ms: Number(tail) * ms };
}
