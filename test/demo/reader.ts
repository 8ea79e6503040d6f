/** The reader of the demonstration: it reads on its own thread until it is stopped. */
import { parentPort, workerData } from 'node:worker_threads';
import { crash } from '#src/crash.js';
import { startReader } from '../support/looping-reader.js';

const reader = startReader(workerData as string, ['app']);
parentPort?.once('message', () => {
  tell().catch(crash);
});

async function tell(): Promise<void> {
  const { looks, snapshots } = await reader.stop();
  parentPort?.postMessage({ looks, snapshots: [...snapshots] });
}
