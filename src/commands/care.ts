/** Commands that put things in order: init, verify. */
import { resolve } from 'node:path';
import { openServices, type Services } from '../daemon/services.js';
import { faultOf, isSystemError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import { allDirectories, type TreeRoots } from '../publish/paths.js';
import type { Finding, VerifyResult } from '../publish/verify.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import { locked } from './clean.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  exitOf,
  formatTable,
  idOf,
  printJson,
  rootsOf,
  runHere,
} from './context.js';
import { unknown } from './look.js';

export async function init(context: CommandContext): Promise<ExitCode> {
  const roots = rootsOf(context);
  const inbox = resolve(context.settings.paths.inbox);
  await runHere('prepareTree', { roots, directories: allDirectories(roots) });
  await runHere('prepareInbox', { inbox });
  if (context.json) printJson(context, { inbox, ...roots });
  else {
    context.print(
      `inbox      ${inbox}\npublished  ${roots.published}\nstate      ${roots.state}\n`,
    );
    context.print('Ready. Start the daemon with: dropdock run\n');
  }
  return EXIT.done;
}

export async function verify(
  context: CommandContext,
  log: Log,
  { repository, repair }: { readonly repository: string | undefined; readonly repair: boolean },
): Promise<ExitCode> {
  const roots = rootsOf(context);
  const all = await runHere('listRepositories', { roots });
  const ids = repository === undefined ? all : [idOf(context, repository)];
  const [asked] = ids;
  if (repository !== undefined && asked && !all.includes(asked)) throw unknown(repository);
  const { mended, notRepaired } = repair ? await mendAll(context, log, ids) : NOTHING;
  const notDone = notRepaired.map(({ id, error: { message } }) => ({ id, message }));
  const findings: Finding[] = [];
  let files = 0;
  const results: Promise<VerifyResult>[] = ids.map((id) => verifyOne(roots, id));
  if (repository === undefined) {
    results.push(runHere('verifyContent', { roots }));
    results.push(runHere('verifyTrash', { roots, nowMs: Date.now() }));
  }
  for (const result of await Promise.all(results)) {
    findings.push(...result.findings);
    files += result.files;
  }
  if (context.json) printJson(context, { files, findings, mended, notRepaired: notDone });
  else {
    for (const what of mended) context.print(`mended: ${what}\n`);
    for (const { id, message } of notDone) {
      context.print(`not repaired: ${id === null ? '' : `${id}: `}${message}\n`);
    }
    context.print(
      formatTable(findings.map(({ problem, path, detail }) => [problem, path, detail])),
    );
    context.print(`${files} files read, ${findings.length} problems found\n`);
  }
  return findings.length === 0 ? exitOf(notRepaired.map(({ error }) => error)) : EXIT.system;
}

/** Between a flip and the link for Crane of the same publish there is a moment. */
const LINKS_AGAIN_MS = 1000;

async function verifyOne(roots: TreeRoots, id: RepositoryId): Promise<VerifyResult> {
  const first = await runHere('verifyRepository', { roots, id });
  if (first.links.length === 0) return first;
  await new Promise((next) => setTimeout(next, LINKS_AGAIN_MS));
  const again = await runHere('verifyLinks', { roots, id });
  const isLasting = ({ path }: Finding) => again.findings.some((each) => each.path === path);
  const findings = first.findings.filter((each) => !first.links.includes(each) || isLasting(each));
  return { ...first, findings };
}

const NOTHING: Mended = { mended: [], notRepaired: [] };

interface Mended {
  /** What was put right, in words. */
  readonly mended: readonly string[];
  /** `id` null: no repository's. */
  readonly notRepaired: readonly { readonly id: RepositoryId | null; readonly error: Error }[];
}

async function mendAll(
  context: CommandContext,
  log: Log,
  ids: readonly RepositoryId[],
): Promise<Mended> {
  const services = await openServices(context.settings, log);
  const mended: string[] = [];
  const notRepaired: { id: RepositoryId | null; error: Error }[] = [];
  try {
    for (const id of ids) {
      try {
        const done = await mendOne(services, id);
        mended.push(...done.map((what) => `${id}: ${what}`));
      } catch (error) {
        // One that is busy, or that dropdock did not make, must not keep the others from it.
        if (faultOf(error) === 'bug') throw error;
        notRepaired.push({ id, error: error as Error });
        if (isSystemError(error)) return { mended, notRepaired };
      }
    }
    const deleted = await services.run('emptyTrash', { roots: services.roots });
    if (deleted > 0) mended.push(`deleted what was left in the trash: ${deleted}`);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    notRepaired.push({ id: null, error });
  } finally {
    await services.close();
  }
  return { mended, notRepaired };
}

function mendOne(services: Services, id: RepositoryId): Promise<string[]> {
  const request = { roots: services.roots, id, owner: services.owner.token };
  const redirect = resolveRepositoryById(services.settings, id);
  return locked(services, id, async () => [
    ...(await services.run('repairRepository', { ...request, redirect })),
    ...(await services.run('mend', request)),
  ]);
}
