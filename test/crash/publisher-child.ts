/**
 * A publisher that merges tags one after the other into several repositories, while its clock jumps by
 * hours; it retries on every system error. It exits when all are published.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { onceContext } from '#src/daemon/daemon.js';
import { faultOf } from '#src/errors.js';
import { parseRepositoryName } from '#src/image/names.js';
import { publishOnce } from '#src/publisher/publish-once.js';
import type { DropToPublish } from '#src/publisher/stored-drop.js';
import { toTimestamp } from '#src/repository/timestamp.js';
import { makeLayout } from '../support/make-image.js';
import { makeRandom } from '../support/random.js';
import { testServices } from '../support/service.js';

const [root = '', name = '', merges = '0', repositories = '1', seed = '0'] = process.argv.slice(2);
const YAML = 'lock: {stale: 2s, wait: 60s}\nretention: {keep: 1000, grace: 10m}\n';
const HOURS_MS = 3_600_000;

const random = makeRandom(Number(seed));
const services = await testServices(root, { yaml: YAML });
let clockOffMs = 0;
Object.assign(services, { nowMs: () => Date.now() + clockOffMs });

for (let n = 0; n < Number(merges); n++) {
  clockOffMs = random() < 0.3 ? Math.floor((random() - 0.5) * 12 * HOURS_MS) : clockOffMs;
  const repository = `app${Math.floor(random() * Number(repositories))}`;
  const tag = `${name}-${n}`;
  const path = join(root, 'made', tag);
  makeLayout(path, { layers: ['shared', tag], tag });
  await publish(repository, path);
  rmSync(path, { recursive: true });
  process.stdout.write(`${repository} ${tag}\n`);
}
await services.close();

async function publish(repository: string, path: string): Promise<void> {
  const drop: DropToPublish = {
    name: path,
    path,
    kind: 'directory',
    at: toTimestamp(services.nowMs()),
    tag: undefined,
    tolerateAbsent: true,
    ingest: 'copy',
    compress: 'none',
  };
  for (;;) {
    try {
      const given = { drop, repository: parseRepositoryName(repository), namespace: '' };
      const [part] = (await publishOnce(onceContext(services), given)).parts;
      if (part?.outcome.status !== 'rejected') return;
      throw part.outcome.error;
    } catch (error) {
      if (faultOf(error) !== 'system') throw error;
    }
  }
}
