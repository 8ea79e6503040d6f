/**
 * `npm run demo`: Pulp issue 3357, reproduced on dropdock. Only the disk is simulated: the real publisher
 * runs, and its disk fails or is slow at chosen points.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, dropPath } from '../support/deliver.js';
import { type DiskOperation, interfereWith, systemError } from '../support/faulty-disk.js';
import { makeLayout } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, testDaemon, testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const say = (text = '') => process.stdout.write(`${text}\n`);
const step = (title: string) => say(`\n== ${title}\n`);

const root = tempDir();
const published = join(root, 'published');

/** What a client can see: where the pivot leads, and the bytes of the redirect and the tag. */
function look(): { pivot: string; redirect: string; tag: string; complete: boolean } {
  const sum = (path: string) =>
    createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 12);
  return {
    pivot: readlinkSync(join(published, 'web/app')),
    redirect: sum(join(published, 'app/app.json')),
    tag: sum(join(published, 'web/app/manifests/oci/1.0')),
    complete: readRepository(published, 'app') !== undefined,
  };
}

function show(what: ReturnType<typeof look>): void {
  say(`   web/app       -> ${what.pivot}`);
  say(`   app/app.json     sha256 ${what.redirect}…`);
  say(`   tag 1.0          sha256 ${what.tag}…`);
  say(`   every digest behind it checked: ${what.complete ? 'complete' : 'NOT COMPLETE'}`);
}

function verdict(before: ReturnType<typeof look>, after: ReturnType<typeof look>): void {
  const same = JSON.stringify(before) === JSON.stringify(after);
  say(same ? '   Still the old ones, byte for byte.' : '   CHANGED! This must not happen.');
  if (!same) process.exitCode = 1;
}

function drop(layers: string[]): void {
  makeLayout(dropPath(root, 'app'), { layers });
}

async function publish(interfere: (operation: DiskOperation) => void = () => {}): Promise<void> {
  const services = await testServices(root, { disk: interfereWith(nodeDisk, interfere) });
  await services.run(prepareInbox, { inbox: services.inbox });
  try {
    await deliver(services, 'app');
  } finally {
    await services.close();
  }
}

const isRedirect = ({ verb, paths }: DiskOperation) =>
  verb === 'open' && paths.includes('/work/') && paths.includes('/app.json');

say('Pulp 2 flipped its symlinks before it had written the redirect file that Crane reads. When');
say('that write failed or was slow, the repository was gone for everybody (issue 3357). dropdock');
say('writes everything first and flips one symlink last. See for yourself.');

step('1. Publish app:1.0 for the first time');
mkdirSync(join(root, 'inbox'), { recursive: true });
drop(['base', 'first']);
await publish();
const first = look();
show(first);

step('2. Publish a new 1.0, and let the disk be full just when the redirect file is written');
drop(['base', 'second']);
const failure = await publish((operation) => {
  if (isRedirect(operation)) throw systemError('ENOSPC', operation);
}).catch((error: Error) => error);
say(`   the publish failed: ${failure instanceof Error ? failure.message.slice(0, 60) : 'NO!'}…\n`);
show(look());
verdict(first, look());

step('3. The disk has room again: a daemon starts, finds the same drop still there, publishes it');
const { stop } = await testDaemon(root);
await waitFor('the receipt', () => receipts(root).length === 2);
await stop();
const second = look();
show(second);
say(second.pivot === first.pivot ? '   NOT published!' : '   The new ones, all at once.');

step('4. Publish a third 1.0, and take two seconds over the redirect file while a reader loops');
drop(['base', 'third']);
const reader = new Worker(new URL('./reader.js', import.meta.url), { workerData: published });
const seen = new Promise<{ looks: number; snapshots: string[] }>((resolve, reject) => {
  reader.once('message', resolve);
  reader.once('error', reject);
});
await new Promise((resolve) => reader.once('online', resolve));
await publish((operation) => {
  if (!isRedirect(operation)) return;
  say('   …writing the redirect file, slowly…');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
  show(look());
  verdict(second, look());
});
await delay(200);
reader.postMessage('stop');
const { looks, snapshots } = await seen;
say(`\n   The reader looked ${looks} times, read every digest each time, and saw`);
say(`   ${snapshots.join('\n   and then ')}`);
say('   and nothing in between.\n');
removeTempDirs();
