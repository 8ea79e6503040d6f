/** 2 GiB in 8 layers: compares dropdock with reading and hashing every byte once, on every core. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BulkRounds } from '../bulk-rounds.js';
import { command, seconds, shell } from '../command.js';
import { ownFreeMemory } from '../free-memory.js';
import { makeLayers, totalBytes } from '../layers.js';
import { type Answer, atMost, type Context, interleave, type Question } from '../question.js';

const HASH = 'printf "%s\\0" "$@" | xargs -0 -n1 -P2 openssl dgst -sha256 >/dev/null';
/** Copies and syncs to disk: a publisher must do this before it reports success. */
const COPY = 'to=$1; shift; cp "$@" "$to"; sync -f "$to"';

export const bulkSize = ({ quick }: Context) => ({
  count: 8,
  bytes: (quick ? 32 : 256) * 1024 ** 2,
});

const NOTE =
  'Warm page cache on both sides; the files were written and synced before. Measured from the ' +
  'rename into the inbox until `web/<id>` resolves to the snapshot.';

const FREE_MEMORY_NOTE =
  'Before each run the machine is made to hold as much free memory as the run will fill, so that it ' +
  'need not get memory from its host: see `bench/free-memory.ts`.';

export const bulkLinked: Question = {
  name: 'bulk',
  asks: '8 layers, 2 GiB in total, moved into the inbox. The daemon owns the files (they are linked).',
  rounds: 5,
  run: async (context): Promise<Answer> => {
    const layers = await makeLayers(context.directory, bulkSize(context));
    const paths = layers.map(({ path }) => path);
    const bench = new BulkRounds(context, layers, 'moved');
    const samples = await interleave(context, {
      hash: () => timed(() => shell(HASH, ...paths)),
      ours: () => bench.run(),
    });
    const peer = {
      name: '`xargs -P2 openssl dgst -sha256`',
      samples: samples.hash,
      without: 'publishes nothing, syncs nothing',
    };
    const ours = { name: 'dropdock', samples: samples.ours };
    const goals = [atMost(1.15, ours, peer)];
    return {
      rows: [{ title: 'bulk, linked', unit: 's', ours, peers: [peer], goals, spent: bench.spent }],
      notes: [NOTE],
    };
  },
};

export const bulkCopied: Question = {
  name: 'foreign',
  asks: 'The same, but with files that other users can still write (they have other names). dropdock copies them while hashing.',
  rounds: 5,
  run: async (context): Promise<Answer> => {
    const layers = await makeLayers(context.directory, bulkSize(context));
    const paths = layers.map(({ path }) => path);
    const bench = new BulkRounds(context, layers, 'linked');
    const samples = await interleave(context, {
      peer: async () => {
        await ownFreeMemory(context.directory, totalBytes(layers));
        return hashAndCopy(context, paths);
      },
      ours: () => bench.run(),
    });
    const peer = {
      name: 'the same hashing, and `cp` with `sync -f` beside it',
      samples: samples.peer,
      without: 'does not hash what it copies: reads everything twice',
    };
    const ours = { name: 'dropdock', samples: samples.ours };
    const goals = [atMost(1.15, ours, peer)];
    return {
      rows: [{ title: 'bulk, copied', unit: 's', ours, peers: [peer], goals, spent: bench.spent }],
      notes: [NOTE, FREE_MEMORY_NOTE],
    };
  },
};

async function timed(run: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await run();
  return seconds(begin);
}

async function hashAndCopy({ directory }: Context, paths: readonly string[]): Promise<number> {
  const to = join(directory, 'copied');
  mkdirSync(to);
  const took = await timed(() => Promise.all([shell(HASH, ...paths), shell(COPY, to, ...paths)]));
  rmSync(to, { recursive: true });
  await command('sync', '-f', directory);
  return took;
}
