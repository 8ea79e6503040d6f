/** Commands that put things in order: init, verify. */
import { resolve } from 'node:path';
import { openServices } from '../daemon/services.js';
import { DropdockError, isSystemError } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import { allDirectories } from '../publish/paths.js';
import type { Finding } from '../publish/verify.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import { locked } from './clean.js';
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
  const mended = repair ? await mendAll(context, log, ids) : [];
  const findings: Finding[] = [];
  let files = 0;
  const results = ids.map((id) => runHere('verifyRepository', { roots, id }));
  if (repository === undefined) {
    results.push(runHere('verifyContent', { roots }));
    results.push(runHere('verifyTrash', { roots, nowMs: Date.now() }));
  }
  for (const result of await Promise.all(results)) {
    findings.push(...result.findings);
    files += result.files;
  }
  if (context.json) printJson(context, { files, findings, mended });
  else {
    for (const what of mended) context.print(`mended: ${what}\n`);
    context.print(
      formatTable(findings.map(({ problem, path, detail }) => [problem, path, detail])),
    );
    context.print(`${files} files read, ${findings.length} problems found\n`);
  }
  return findings.length === 0 ? EXIT.done : EXIT.system;
}

async function mendAll(
  context: CommandContext,
  log: Log,
  ids: readonly RepositoryId[],
): Promise<string[]> {
  const services = await openServices(context.settings, log);
  const mended: string[] = [];
  try {
    for (const id of ids) {
      const request = { roots: services.roots, id, owner: services.owner.token };
      const redirect = resolveRepositoryById(services.settings, id);
      const done = await locked(services, id, async () => [
        ...(await services.run('repairRepository', { ...request, redirect })),
        ...(await services.run('mend', request)),
      ]).catch((error) => {
        // One that dropdock did not make must not keep the others from it.
        if (error instanceof DropdockError) return [`not repaired: ${error.message}`];
        throw error;
      });
      mended.push(...done.map((what) => `${id}: ${what}`));
    }
    const deleted = await services.run('emptyTrash', { roots: services.roots });
    if (deleted > 0) mended.push(`deleted what was left in the trash: ${deleted}`);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    mended.push(`stopped: ${error.message}`);
  } finally {
    await services.close();
  }
  return mended;
}
