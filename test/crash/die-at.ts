/**
 * A process that delivers one drop and kills itself at its k-th disk operation, or at the first that
 * matches: `rename .*\/published\/web\/app$`.
 */
import { nodeDisk } from '#src/storage/disk.js';
import { deliver } from '../support/deliver.js';
import { interfereWith } from '../support/faulty-disk.js';
import { testServices } from '../support/service.js';

const [root = '', path = '', where = '0', yaml] = process.argv.slice(2);
let armed = false;
let number = 0;
const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
  if (!armed) return;
  const isHere = /^\d+$/.test(where)
    ? ++number === Number(where)
    : new RegExp(where).test(`${verb} ${paths}`);
  if (isHere) process.kill(process.pid, 'SIGKILL');
});
const services = await testServices(root, yaml === undefined ? { disk } : { disk, yaml });
armed = true;
await deliver(services, path);
armed = false;
await services.close();
