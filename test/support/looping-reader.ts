/** A reader that reads continuously while other things happen. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { readRepository } from './outside-reader.js';

export interface LoopingReader {
  /** @returns how often it looked, and the snapshots it saw. @throws the first violation */
  stop(): Promise<{ looks: number; snapshots: ReadonlySet<string> }>;
}

export function startReader(published: string, ids: readonly string[]): LoopingReader {
  let stopped = false;
  let looks = 0;
  const snapshots = new Set<string>();
  const loop = (async () => {
    while (!stopped) {
      for (const id of ids) {
        const seen = readRepository(published, id);
        if (seen) snapshots.add(`${id} ${seen.snapshot}`);
        looks++;
      }
      await nextTurn();
    }
  })();
  loop.catch(() => {});
  return {
    stop: async () => {
      stopped = true;
      await loop;
      return { looks, snapshots };
    },
  };
}
