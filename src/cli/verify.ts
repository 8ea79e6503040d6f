/** The command verify, and verify --repair. */
import { openServices } from '../daemon/services.js';
import { targetNamed } from '../daemon/targets.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import type { RepairResult } from '../publisher/target.js';
import { shownTarget } from '../settings/target-settings.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  exitOf,
  formatTable,
  idOf,
  nameOf,
  printJson,
  readTarget,
  unknownRepository,
} from './command-context.js';

export interface VerifyOptions {
  readonly repository: string | undefined;
  readonly target: string | undefined;
  readonly repair: boolean;
}

/** @throws repository.unknown, usage.invalid */
export async function verify(
  context: CommandContext,
  log: Log,
  { repository, target, repair }: VerifyOptions,
): Promise<ExitCode> {
  const name = targetNamed(context.settings, target);
  const id = repository === undefined ? undefined : idOf(context, repository);
  const repaired = repair ? await repairTarget(context, log, name, id) : NOTHING_REPAIRED;
  const report = repaired && (await readTarget(context, name, (each) => each.verify(id)));
  if (repaired === undefined || report === undefined) throw unknownRepository(repository ?? '');
  const { files, findings, unit } = report;
  const { repaired: mended, notDone } = repaired;
  const notRepaired = notDone.map(({ id: which, error: { message } }) => ({ id: which, message }));
  if (context.json) {
    const shown = shownTarget(name);
    const document = shown === undefined ? { files, findings } : { target: shown, files, findings };
    const hasRepairs = repair || shown === undefined;
    printJson(context, hasRepairs ? { ...document, mended, notRepaired } : document);
  } else {
    for (const what of mended) context.print(`repaired: ${what}\n`);
    for (const { id: which, message } of notRepaired) {
      context.print(
        `not repaired: ${which === null ? '' : `${nameOf(context, which)}: `}${message}\n`,
      );
    }
    context.print(
      formatTable(findings.map(({ problem, path, detail }) => [problem, path, detail])),
    );
    context.print(`${files} ${unit} read, ${findings.length} problems found\n`);
  }
  return findings.length === 0 ? exitOf(notDone.map(({ error }) => error)) : EXIT.system;
}

const NOTHING_REPAIRED: RepairResult = { repaired: [], notDone: [] };

async function repairTarget(
  { settings }: CommandContext,
  log: Log,
  target: string,
  id: RepositoryId | undefined,
): Promise<RepairResult | undefined> {
  const services = await openServices(() => settings, log);
  try {
    return await services.targets.get(target).repair(id);
  } finally {
    await services.close();
  }
}
