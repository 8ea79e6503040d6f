/** `dropdock publish PATH [--as REF]`: one drop, now, by the same steps. What was given stays. */
import { basename, resolve } from 'node:path';
import { openServices } from '../daemon/services.js';
import { nodeDisk } from '../disk/disk.js';
import { statIfThere } from '../disk/durable.js';
import { DropdockError } from '../errors.js';
import { type DropName, parseDropName } from '../image/names.js';
import type { Log } from '../log.js';
import type { DropOutcome, DropToPublish } from '../publish/drop.js';
import { publishRepository } from '../publish/publish.js';
import { publishedReceipt, rejectedReceipt } from '../report.js';
import { type ResolvedRepository, resolveRepository } from '../settings/repository-policy.js';
import { toTimestamp } from '../snapshot/timestamp.js';
import { type CommandContext, EXIT, type ExitCode, formatBytes, printJson } from './context.js';

export interface PublishOptions {
  readonly path: string;
  /** `<repository>[:<tag>]`; the path's last component where it is left out. */
  readonly as: string | undefined;
}

export async function publishByHand(
  context: CommandContext,
  log: Log,
  { path, as }: PublishOptions,
): Promise<ExitCode> {
  const { settings } = context;
  const absolute = resolve(path);
  const kind = statIfThere(nodeDisk, absolute)?.kind;
  if (kind !== 'directory' && kind !== 'file') {
    throw new DropdockError('usage.invalid', `${path} is no directory and no file.`, { path });
  }
  const name = parseReference(as ?? basename(absolute), as !== undefined, kind === 'file');
  const startedMs = performance.now();
  const services = await openServices(settings, log);
  try {
    const policy = resolveRepository(settings, name.repository);
    const drop: DropToPublish = {
      name: as ?? basename(absolute),
      path: absolute,
      kind,
      compress: settings.archives.compress,
      at: toTimestamp(services.nowMs()),
      tag: name.tag,
      tolerateAbsent: true,
      // The directory stays with its owner, who may write to it again.
      ingest: 'copy',
    };
    const { roots, owner, uid, run, nowMs } = services;
    const lock = { staleMs: settings.lock.stale, waitMs: settings.lock.wait };
    const publishContext = { roots, owner: owner.token, uid, run, nowMs, lock };
    const result = await publishRepository(publishContext, policy, [drop], async () => {});
    await run('emptyTrash', { roots });
    const [outcome] = result.outcomes;
    if (outcome === undefined) return EXIT.system;
    return report(context, outcome, policy, Math.round(performance.now() - startedMs));
  } finally {
    await services.close();
  }
}

function parseReference(
  text: string,
  isExplicit: boolean,
  isFile: boolean,
): DropName & { repository: NonNullable<DropName['repository']> } {
  let name: DropName;
  try {
    name = parseDropName(text, isFile && !isExplicit);
  } catch (error) {
    const how = isExplicit ? '' : ' Say --as <repository>[:<tag>].';
    throw new DropdockError('usage.invalid', `${(error as Error).message}${how}`, {}, error);
  }
  const { repository } = name;
  if (repository !== undefined) return { ...name, repository };
  throw new DropdockError('usage.invalid', `${text} names no repository; say --as.`, {});
}

function report(
  context: CommandContext,
  outcome: DropOutcome,
  { repository, id }: ResolvedRepository,
  tookMs: number,
): ExitCode {
  if (outcome.status === 'retry') throw outcome.error;
  const { drop } = outcome;
  const frame = {
    drop: drop.name,
    repository,
    id,
    claim: drop.name,
    claimedAt: drop.at,
    finishedAt: toTimestamp(Date.now()),
    tookMs,
  };
  if (outcome.status === 'rejected') {
    if (context.json) printJson(context, rejectedReceipt(outcome.error, frame));
    throw outcome.error;
  }
  if (context.json) {
    printJson(context, publishedReceipt(outcome, frame));
    return EXIT.done;
  }
  const { content, moves, snapshot, leftOut } = outcome;
  const bytes = [...content.blobs, ...content.manifests].reduce((sum, { size }) => sum + size, 0);
  context.print(`${outcome.status} ${repository} as snapshot ${snapshot}\n`);
  for (const { tag, from, to } of moves)
    context.print(`  ${tag}: ${from ?? 'new'} -> ${to ?? 'gone'}\n`);
  context.print(
    `  ${content.manifests.length} manifests, ${content.blobs.length} blobs, ${formatBytes(bytes)}, ${(tookMs / 1000).toFixed(2)} s\n`,
  );
  for (const { what, why } of leftOut) context.print(`  left out: ${what}: ${why}\n`);
  for (const warning of content.warnings) context.print(`  warning: ${warning}\n`);
  return EXIT.done;
}
