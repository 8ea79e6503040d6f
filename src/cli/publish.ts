/** `dropdock publish PATH|- [--as REF]`: publishes one drop with the daemon's steps, and keeps the source. */
import { basename, join, resolve } from 'node:path';
import { onceContext } from '../daemon/daemon.js';
import { tellDaemon } from '../daemon/log-commands.js';
import { openServices, type Services } from '../daemon/services.js';
import { DropdockError, faultOf } from '../errors.js';
import { type DropName, parseDropName } from '../image/names.js';
import type { Log } from '../log.js';
import { type PublishedOnce, publishOnce } from '../publisher/publish-once.js';
import type { DropToPublish } from '../publisher/stored-drop.js';
import { toTimestamp } from '../repository/timestamp.js';
import { resolveRepository } from '../settings/repository-policy.js';
import { nodeDisk } from '../storage/disk.js';
import { addProgress, newProgress } from '../storage/progress.js';
import { bytesBelow, receiveStream } from '../storage/receive.js';
import { inTransaction } from '../storage/transaction.js';
import { emptyTrash } from '../storage/trash.js';
import { workPath } from '../storage/tree-paths.js';
import { type CommandContext, EXIT, type ExitCode } from './command-context.js';
import { ProgressLine, type ProgressOutput } from './progress-line.js';
import { reportBundle, reportOutcome, reportRejected } from './publish-report.js';

export interface PublishOptions {
  /** `-`: an archive on standard input. */
  readonly path: string;
  /** `<repository>[:<tag>]`; undefined: the last component of the path. */
  readonly as: string | undefined;
  readonly input: NodeJS.ReadableStream;
  readonly progress: ProgressOutput;
}

export async function publishByHand(
  context: CommandContext,
  log: Log,
  options: PublishOptions,
): Promise<ExitCode> {
  const { path, as } = options;
  const given = path === '-' ? undefined : resolve(path);
  const kind = given === undefined ? 'file' : nodeDisk.statIfThere(given)?.kind;
  if (kind !== 'directory' && kind !== 'file') {
    throw new DropdockError('usage.invalid', `"${path}" is neither a directory nor a file.`, {
      path,
    });
  }
  if (given === undefined && as === undefined) {
    throw new DropdockError('usage.invalid', 'Standard input needs --as <repository>[:<tag>].', {});
  }
  const text = as ?? basename(given ?? '');
  const name = parseReference(text, as !== undefined, kind === 'file');
  const services = await openServices(() => context.settings, log);
  const { roots, run, transactions } = services;
  const transaction = transactions.next();
  try {
    return await inTransaction(run, { roots, transaction }, async () => {
      const archive = given ?? join(workPath(roots, transaction), 'standard-input');
      if (given === undefined) await receive(options, archive);
      const { by } = context;
      const source = { name: text, path: archive, kind, tag: name.tag, by } as const;
      const drop = toDropByHand(services, source);
      return publishDrop(context, services, { drop, name, options });
    });
  } finally {
    await run(emptyTrash, { roots });
    await services.close();
  }
}

async function receive({ input, progress }: PublishOptions, path: string): Promise<void> {
  const received = newProgress();
  const line = new ProgressLine(progress, 'receiving', received, undefined);
  try {
    await receiveStream(input, path, (count) => addProgress(received, count));
  } finally {
    line.end();
  }
}

function toDropByHand(
  { settings, nowMs }: Services,
  given: Pick<DropToPublish, 'name' | 'path' | 'kind' | 'tag' | 'by'>,
): DropToPublish {
  return {
    ...given,
    compress: settings.archives.compress,
    at: toTimestamp(nowMs()),
    tolerateAbsent: true,
    // The source stays in place and may be written to again, so its files must not be linked.
    ingest: 'copy',
    progress: newProgress(),
  };
}

async function publishDrop(
  context: CommandContext,
  services: Services,
  given: { drop: DropToPublish; name: DropName; options: PublishOptions },
): Promise<ExitCode> {
  const { name, options } = given;
  const { repository, namespace } = name;
  const drop = { ...given.drop, fromInside: repository === undefined };
  const startedMs = performance.now();
  const { progress = newProgress() } = drop;
  const line = new ProgressLine(options.progress, 'reading', progress, bytesBelow(drop.path));
  const took = () => Math.round(performance.now() - startedMs);
  let published: PublishedOnce;
  try {
    published = await publishOnce(onceContext(services), { drop, repository, namespace });
  } catch (error) {
    if (faultOf(error) !== 'content') throw error;
    const policy = repository && resolveRepository(services.settings, repository);
    return reportRejected(context, drop, policy, error as Error, took());
  } finally {
    line.end();
  }
  for (const { policy, outcome } of published.parts) {
    if (outcome.status !== 'published') continue;
    const { snapshot, moves } = outcome;
    const change = { command: 'publish', repository: policy.repository, by: drop.by };
    await tellDaemon(services, { ...change, snapshot, moves });
  }
  const [part] = published.parts;
  if (repository === undefined) return reportBundle(context, drop, published, took());
  return part === undefined ? EXIT.system : reportOutcome(context, drop, part, took());
}

function parseReference(text: string, isExplicit: boolean, isFile: boolean): DropName {
  try {
    return parseDropName(text, isFile && !isExplicit);
  } catch (error) {
    const how = isExplicit ? '' : ' Use --as <repository>[:<tag>].';
    throw new DropdockError('usage.invalid', `${(error as Error).message}${how}`, {}, error);
  }
}
