/** 2 GiB in 8 layers: how far from reading and hashing every byte once, on every core. */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, seconds, shell } from '../command.js';
import { Daemon, spentText } from '../daemon.js';
import { type Layer, makeLayers } from '../layers.js';
import { image, writeLayout } from '../layout.js';
import { type Answer, atMost, type Context, interleave, type Question } from '../question.js';

const HASH = 'printf "%s\\0" "$@" | xargs -0 -n1 -P2 openssl dgst -sha256 >/dev/null';
/** Copied, and on the disk: what a publisher must do before it may say so. */
const COPY = 'to=$1; shift; cp "$@" "$to"; sync -f "$to"';

export const bulkSize = ({ quick }: Context) => ({
  count: 8,
  bytes: (quick ? 32 : 256) * 1024 ** 2,
});

const NOTE =
  'Warm page cache on both sides; the files were written and synced before. From the rename into ' +
  'the inbox until `web/<id>` resolves to the snapshot.';

export const bulkLinked: Question = {
  name: 'bulk',
  asks: "8 layers, 2 GiB in all, moved into the inbox; the files are the daemon's own (linked).",
  rounds: 7,
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
  asks: "The same, but files that others can still write (they have other names): copied while they're hashed.",
  rounds: 5,
  run: async (context): Promise<Answer> => {
    const layers = await makeLayers(context.directory, bulkSize(context));
    const paths = layers.map(({ path }) => path);
    const bench = new BulkRounds(context, layers, 'linked');
    const samples = await interleave(context, {
      peer: () => hashAndCopy(context, paths),
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
      notes: [NOTE],
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

/** Each round a daemon that has never seen any of it. */
class BulkRounds {
  #spent = { userS: 0, systemS: 0 };
  #times = 0;

  constructor(
    readonly context: Context,
    readonly layers: readonly Layer[],
    readonly how: 'moved' | 'linked',
  ) {}

  get spent(): string {
    return spentText(this.#spent, this.#times);
  }

  async run(): Promise<number> {
    const root = join(this.context.directory, 'bulk');
    const drop = join(this.context.directory, 'bulk-drop');
    const dropped = image(this.layers, 'bulk');
    writeLayout(drop, [{ image: dropped, tag: '1.0' }], { layers: this.how });
    await command('sync', '-f', drop);
    const daemon = await Daemon.start(this.context, root);
    await daemon.warm();
    const took = await daemon.measured(async () => {
      const begin = performance.now();
      renameSync(drop, join(daemon.inbox, 'app:1.0'));
      return ((await daemon.web.moved('app', undefined)) - begin) / 1000;
    });
    await daemon.idle();
    await daemon.check('app', '1.0', dropped.manifest.digest);
    await daemon.stop();
    this.#note(daemon);
    for (const layer of this.layers) {
      const stored = daemon.stored(layer.digest);
      // Also proves that it was linked: a copy would have left the layer where it was put.
      if (this.how === 'moved') renameSync(stored, layer.path);
    }
    rmSync(root, { recursive: true });
    await command('sync', '-f', this.context.directory);
    return took;
  }

  #note({ spent }: Daemon): void {
    this.#times++;
    this.#spent = {
      userS: this.#spent.userS + spent.userS,
      systemS: this.#spent.systemS + spent.systemS,
    };
  }
}
