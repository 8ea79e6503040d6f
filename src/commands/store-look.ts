/** `status`, `history` and `verify` of an object store: what its pointers say, read from the store. */
import { Stores } from '../daemon/stores.js';
import { readClock } from '../disk/clock.js';
import { DropdockError } from '../errors.js';
import type { StoreContext } from '../objects/context.js';
import {
  listIds,
  listSnapshotNames,
  readPointers,
  type StoreFinding,
  verifyStore,
} from '../objects/look.js';
import type { Pointer } from '../objects/pointer.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  formatTable,
  idOf,
  printJson,
  rootsOf,
  runHere,
} from './context.js';
import { unknown } from './look.js';

export interface StoreLook {
  readonly target: string;
  readonly repository: string | undefined;
}

/** Opens a store for a command that only reads. */
async function withStore<T>(
  context: CommandContext,
  target: string,
  work: (store: StoreContext) => Promise<T>,
): Promise<T> {
  const { settings } = context;
  const clocks = {
    nowMs: () => Date.now(),
    monotonicMs: () => performance.now(),
    clock: readClock,
  };
  const stores = new Stores({ settings, roots: rootsOf(context), run: runHere, ...clocks });
  try {
    return await work(await stores.open(target));
  } finally {
    await stores.close();
  }
}

async function pointersOf(
  context: CommandContext,
  store: StoreContext,
  repository: string | undefined,
): Promise<Pointer[]> {
  const ids = repository === undefined ? await listIds(store) : [idOf(context, repository)];
  const pointers = await readPointers(store, ids);
  if (repository !== undefined && pointers.length === 0) throw unknown(repository);
  return pointers;
}

export function storeStatus(
  context: CommandContext,
  { target, repository }: StoreLook,
): Promise<ExitCode> {
  return withStore(context, target, async (store) => {
    const found = await pointersOf(context, store, repository);
    const repositories = found.map(({ history, ...pointer }) => ({
      ...pointer,
      at: history.at(-1)?.at ?? pointer.snapshot,
    }));
    if (context.json) printJson(context, { version: 1, target, repositories });
    else {
      const rows = repositories.map(
        ({ repository: name, snapshot, tags, generation, removed, at }) => [
          name,
          removed ? 'removed' : String(tags),
          snapshot,
          String(generation),
          at,
        ],
      );
      const head = ['REPOSITORY', 'TAGS', 'SNAPSHOT', 'FLIPS', 'SINCE'];
      context.print(formatTable([head, ...rows]));
    }
    return EXIT.done;
  });
}

export function storeHistory(
  context: CommandContext,
  { target, repository }: { readonly target: string; readonly repository: string },
): Promise<ExitCode> {
  return withStore(context, target, async (store) => {
    const [pointer] = await pointersOf(context, store, repository);
    if (pointer === undefined) throw unknown(repository);
    const kept = await listSnapshotNames(store, pointer.id);
    const entries = pointer.history.map((flip) => ({
      ...flip,
      kept: kept.has(flip.snapshot),
      current: flip.snapshot === pointer.snapshot,
    }));
    if (context.json) printJson(context, entries);
    else {
      const rows = entries.map(({ at, snapshot, why, detail, drops, kept: isKept, current }) => [
        at,
        snapshot,
        current ? 'current' : isKept ? 'kept' : 'gone',
        why,
        detail ?? drops.map(({ drop }) => drop).join(' '),
      ]);
      context.print(formatTable([['AT', 'SNAPSHOT', 'STATE', 'WHY', 'WHAT'], ...rows]));
    }
    return EXIT.done;
  });
}

/** Reads every object that what is current needs. */
export function storeVerify(
  context: CommandContext,
  { target, repository }: StoreLook,
): Promise<ExitCode> {
  return withStore(context, target, async (store) => {
    const seen = new Set<string>();
    const findings: StoreFinding[] = [];
    let files = 0;
    for (const pointer of await pointersOf(context, store, repository)) {
      const checked = await verifyStore(store, pointer, seen);
      findings.push(...checked.findings);
      files += checked.files;
    }
    if (context.json) printJson(context, { target, files, findings });
    else {
      context.print(
        formatTable(findings.map(({ problem, path, detail }) => [problem, path, detail])),
      );
      context.print(`${files} objects read, ${findings.length} problems found\n`);
    }
    return findings.length === 0 ? EXIT.done : EXIT.system;
  });
}

/** The store a command names; undefined for the directory. @throws usage.invalid */
export function storeNamed({ settings }: CommandContext, target: unknown): string | undefined {
  if (target === undefined || target === 'local') return undefined;
  const name = String(target);
  if (settings.targets[name]?.type === 's3') return name;
  const known = ['local', ...Object.keys(settings.targets)].join(', ');
  throw new DropdockError('usage.invalid', `There is no target ${name}; there are ${known}.`);
}
