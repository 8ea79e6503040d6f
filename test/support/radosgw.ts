/**
 * Ceph's real RADOS Gateway on a cluster of one monitor and one disk in memory, all on loopback, started
 * in about two seconds and stopped with this process. Packages of Debian: ceph-mon, ceph-osd, radosgw,
 * ceph-common.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, openSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { StoreOptions } from '#src/targets/object-store/object-store.js';
import { credentialsFile } from './object-stores.js';
import { tool } from './tools.js';
import { waitFor } from './wait-for.js';

export const GATEWAY_TOOLS = ['radosgw', 'ceph-mon', 'ceph-osd', 'ceph', 'ceph-authtool'];

const KEYS = { id: 'testaccesskey0000000', secret: 'testsecretkey00000000000000000000000000' };
const START_MS = 60_000;

export class Gateway {
  readonly #children: ChildProcess[] = [];

  private constructor(
    readonly directory: string,
    readonly port: number,
  ) {}

  /** @param directory empty; everything of it lies there, and it is the caller's to delete */
  static async start(directory: string): Promise<Gateway> {
    const gateway = new Gateway(directory, await freePort());
    const end = () => gateway.#kill('SIGKILL');
    process.on('exit', end);
    try {
      await gateway.#start();
    } catch (error) {
      end();
      throw error;
    }
    return gateway;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  options(bucket: string, more: Partial<StoreOptions> = {}): StoreOptions {
    return {
      target: 'eu',
      endpoint: this.endpoint,
      bucket,
      prefix: 'some/where',
      region: 'us-east-1',
      pathStyle: true,
      credentialsFile: credentialsFile(KEYS.id, KEYS.secret),
      timeoutMs: 20_000,
      ...more,
    };
  }

  async makeBucket(name: string): Promise<void> {
    const { S3 } = await import('@aws-sdk/client-s3');
    const credentials = { accessKeyId: KEYS.id, secretAccessKey: KEYS.secret };
    const s3 = new S3({
      endpoint: this.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials,
      maxAttempts: 1,
    });
    try {
      await waitFor(
        'a bucket',
        () => s3.createBucket({ Bucket: name }).catch(() => undefined),
        START_MS,
      );
    } finally {
      s3.destroy();
    }
  }

  async stop(): Promise<void> {
    const ended = this.#children
      .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      .map((child) => once(child, 'exit'));
    this.#kill('SIGKILL');
    await Promise.all(ended);
  }

  #kill(signal: NodeJS.Signals): void {
    for (const child of this.#children) child.kill(signal);
  }

  async #start(): Promise<void> {
    const at = (name: string) => join(this.directory, name);
    for (const name of ['log', 'run', 'mon', 'osd', 'rgw']) mkdirSync(at(name));
    const fsid = randomUUID();
    const monitor = `v2:127.0.0.1:${await freePort()}/0`;
    const conf = at('ceph.conf');
    writeFileSync(conf, this.#conf(fsid, monitor));
    // One file for every process: the cluster has one owner.
    writeFileSync(at('keyring'), '', { mode: 0o600 });
    for (const name of ['mon.', 'client.admin', 'client.rgw', 'osd.0']) {
      const caps = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *'];
      await tool('ceph-authtool', at('keyring'), '-n', name, '--gen-key', ...caps);
    }
    const release = ['--set-min-mon-release', 'pacific'];
    const map = [
      '--create',
      '--clobber',
      '--fsid',
      fsid,
      ...release,
      '--addv',
      'a',
      `[${monitor}]`,
    ];
    await tool('monmaptool', ...map, at('monmap'));
    const keyring = ['--keyring', at('keyring')];
    await tool('ceph-mon', '-c', conf, '-i', 'a', '--mkfs', '--monmap', at('monmap'), ...keyring);
    this.#launch('ceph-mon', '-c', conf, '-i', 'a', '-f');
    const ceph = (...given: string[]) =>
      tool('timeout', '20', 'ceph', '-c', conf, '--connect-timeout', '10', ...given);
    await waitFor('the monitor', () => ceph('mon', 'stat').catch(() => undefined), START_MS);
    const disk = randomUUID();
    await ceph('osd', 'new', disk);
    await tool('ceph-osd', '-c', conf, '-i', '0', '--mkfs', '--osd-uuid', disk);
    this.#launch('ceph-osd', '-c', conf, '-i', '0', '-f');
    await waitFor('the disk', async () => (await ceph('osd', 'stat')).includes('1 up'), START_MS);
    // Before the gateway: the first process to start creates the pools.
    const user = ['--uid=test', '--display-name=test', `--access-key=${KEYS.id}`];
    await tool('radosgw-admin', '-c', conf, 'user', 'create', ...user, `--secret=${KEYS.secret}`);
    this.#launch('radosgw', '-c', conf, '-n', 'client.rgw', '-f');
    await this.makeBucket('first');
  }

  #launch(name: string, ...given: string[]): void {
    const output = openSync(join(this.directory, 'log', `${name}.out`), 'w');
    this.#children.push(spawn(name, given, { stdio: ['ignore', output, output] }));
  }

  /** Small, quick, without anything that a cluster of more than one would need. */
  #conf(fsid: string, monitor: string): string {
    const at = (name: string) => join(this.directory, name);
    return `[global]
fsid = ${fsid}
mon host = [${monitor}]
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = ${at('keyring')}
run dir = ${at('run')}
admin socket =
crash dir = ${at('log')}
log file = ${at('log')}/$name.log
log to stderr = false
err to stderr = true
[mon]
mon data = ${at('mon')}
mon cluster log file = ${at('log')}/cluster.log
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.02
paxos min wait = 0.01
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
[osd]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd data = ${at('osd')}
osd objectstore = memstore
memstore device bytes = ${2 ** 31}
[client]
rgw data = ${at('rgw')}
rgw frontends = beast endpoint=127.0.0.1:${this.port} tcp_nodelay=1
rgw thread pool size = 32
rgw rados pool pg num min = 4
rgw enable usage log = false
`;
  }
}

/** Free a moment ago; no other process requests it on purpose. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
