/**
 * Several publishers in separate processes merge into one repository of a store, are killed at any moment
 * and restarted, while requests fail. No tag is lost, no drop is published twice, and snapshot names only
 * increase.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { StoreOptions } from '#src/targets/object-store/object-store.js';
import type { Pointer } from '#src/targets/object-store/pointer.js';
import { tempDir } from './temp-dir.js';

const CHILD = fileURLToPath(new URL('./store-publisher-child.js', import.meta.url));

export interface PublisherTask {
  readonly options: StoreOptions;
  readonly root: string;
  /** Each a drop of one image, claimed at a time of its own. */
  readonly drops: readonly { readonly tag: string; readonly at: string }[];
}

export interface TortureOptions {
  readonly options: StoreOptions;
  readonly publishers: number;
  /** Drops of each. */
  readonly drops: number;
  /** How long a publisher lives, once it can publish, before it is killed (ms); undefined for ever. */
  readonly lifeMs: (() => number) | undefined;
  /** What is current now. @throws when it is not whole */
  readonly look: () => Promise<{
    readonly tags: readonly string[];
    readonly pointer: Pointer | undefined;
  }>;
}

export interface Tortured {
  readonly kills: number;
  readonly looks: number;
  readonly generation: number;
}

export async function tortureStore(torture: TortureOptions): Promise<Tortured> {
  const { options, publishers, drops, look } = torture;
  const startMs = Date.now();
  const counts = { kills: 0, looks: 0 };
  const ended = new AbortController();
  const all: string[] = [];
  let isDone = false;
  const work = Array.from({ length: publishers }, (_none, who) => {
    const mine = Array.from({ length: drops }, (_each, at) => ({
      tag: `p${who}-${at}`,
      at: new Date(startMs + at * publishers + who).toISOString().replace(/[-:]/g, ''),
    }));
    all.push(...mine.map(({ tag }) => tag));
    return publishAll({ options, root: tempDir(), drops: mine }, torture, counts, ended.signal);
  });
  const working = Promise.all(work).finally(() => {
    isDone = true;
  });
  try {
    // Whoever fails first ends it all.
    await Promise.all([watch(), working]);
  } finally {
    isDone = true;
    ended.abort();
    await Promise.allSettled(work);
  }
  const { tags, pointer } = await look();
  expect(tags).to.deep.equal(all.sort());
  return { ...counts, generation: pointer?.generation ?? 0 };

  /** Tags only come, names only grow, and what is there is whole. */
  async function watch(): Promise<void> {
    let last: Awaited<ReturnType<typeof look>> | undefined;
    while (!isDone) {
      const now = await look();
      counts.looks++;
      expect(now.tags).to.include.members([...(last?.tags ?? [])]);
      const names = (now.pointer?.history ?? []).map(({ snapshot }) => snapshot);
      expect(names, 'the history').to.deep.equal([...new Set(names)].sort());
      const known = names.filter((name) => name <= (last?.pointer?.snapshot ?? ''));
      const before = (last?.pointer?.history ?? []).map(({ snapshot }) => snapshot);
      expect(before.slice(-known.length || before.length), 'what was current').to.deep.equal(known);
      const published = (now.pointer?.history ?? []).flatMap((flip) => flip.drops);
      expect(new Set(published.map(({ drop }) => drop)).size).to.equal(published.length);
      last = now;
    }
  }
}

/** Until all its drops are published, however often it is killed. */
async function publishAll(
  task: PublisherTask,
  { lifeMs }: TortureOptions,
  counts: { kills: number },
  ended: AbortSignal,
): Promise<void> {
  let left = task.drops;
  // On a very slow machine no process lives long enough: one that has published nothing lives longer.
  let fruitless = 0;
  while (left.length > 0 && !ended.aborted) {
    const child: ChildProcess = fork(CHILD, [JSON.stringify({ ...task, drops: left })]);
    const kill = () => child.kill('SIGKILL');
    ended.addEventListener('abort', kill);
    let timer: NodeJS.Timeout | undefined;
    child.on('message', (tag) => {
      if (tag === 'ready' && lifeMs) timer = setTimeout(kill, lifeMs() * 1.5 ** fruitless++);
      else fruitless = 0;
      left = left.filter((drop) => drop.tag !== tag);
    });
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
    clearTimeout(timer);
    ended.removeEventListener('abort', kill);
    if (signal === 'SIGKILL') counts.kills++;
    else if (code !== 0) throw new Error(`a publisher ended with ${code ?? signal}`);
  }
}
