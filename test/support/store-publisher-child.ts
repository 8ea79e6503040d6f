/** A publisher in a separate process: it publishes its drops one after the other, and reports each. */
import { setTimeout as delay } from 'node:timers/promises';
import { faultOf } from '#src/errors.js';
import { openStore } from '#src/targets/object-store/s3-store.js';
import { StorePublisher } from './store-publisher.js';
import type { PublisherTask } from './store-torture.js';
import { removeTempDirs } from './temp-dir.js';

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
const { options, drops } = JSON.parse(process.argv[2] ?? '') as PublisherTask;
const store = await openStore(options);
const publisher = await new StorePublisher(store).prepare();
process.send?.('ready');
for (const { tag, at } of drops) {
  const staged = await publisher.stage(tag);
  const drop = { ...staged, origin: { ...staged.origin, at } };
  for (;;) {
    try {
      await publisher.publish(drop);
      break;
    } catch (error) {
      if (faultOf(error) !== 'system') throw error;
      await delay(20 + Math.random() * 50);
    }
  }
  process.send?.(tag);
}
store.close();
removeTempDirs();
process.disconnect?.();
