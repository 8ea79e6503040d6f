/** A reader on its own thread: it reads continuously until it is stopped. */
import { parentPort, workerData } from 'node:worker_threads';
import { crash } from '#src/crash.js';
import { startReader } from './looping-reader.js';

export interface ReaderThreadData {
  readonly published: string;
  readonly ids: readonly string[];
}

export interface ReaderThreadAnswer {
  readonly looks: number;
  readonly snapshots: number;
  /** The first violation. */
  readonly violation: string | undefined;
}

const { published, ids } = workerData as ReaderThreadData;
const reader = startReader(published, ids);
parentPort?.once('message', () => {
  tell().catch(crash);
});

async function tell(): Promise<void> {
  const answer = await reader.stop().then(
    ({ looks, snapshots }) => ({ looks, snapshots: snapshots.size, violation: undefined }),
    (error: Error) => ({ looks: 0, snapshots: 0, violation: error.message }),
  );
  parentPort?.postMessage(answer satisfies ReaderThreadAnswer);
}
