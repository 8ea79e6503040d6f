/** A process that delivers one drop and writes the redirect file slowly. */
import { nodeDisk } from '#src/storage/disk.js';
import { deliver, SWEPT_DROP, SWEPT_ID } from '../../support/deliver.js';
import { interfereWith } from '../../support/faulty-disk.js';
import { testServices } from '../../support/service.js';

const [root = '', ms = '0'] = process.argv.slice(2);
const nothing = new Int32Array(new SharedArrayBuffer(4));
const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
  if (verb !== 'open' || !paths.endsWith(`${SWEPT_ID}.json create`)) return;
  process.stdout.write('writing the redirect file, slowly\n');
  Atomics.wait(nothing, 0, 0, Number(ms));
});
const services = await testServices(root, { disk });
await deliver(services, SWEPT_DROP);
await services.close();
