/** A process that delivers one drop and waits, right before its flip, to be paused and continued. */

import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { deliver } from '../../support/deliver.js';
import { interfereWith } from '../../support/faulty-disk.js';
import { testServices } from '../../support/service.js';

const [root = '', path = ''] = process.argv.slice(2);
const nothing = new Int32Array(new SharedArrayBuffer(4));
const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
  if (verb !== 'rename' || !/\/web\/[^.]+$/.test(paths)) return;
  process.stdout.write('about to flip\n');
  Atomics.wait(nothing, 0, 0, 500);
});
const services = await testServices(root, { disk });
await services.run(prepareInbox, { inbox: services.inbox });
await deliver(services, path);
await services.close();
