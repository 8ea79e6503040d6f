/** The command verify, and verify --repair. */
import { openServices } from '../daemon/services.js';
import { targetNamed } from '../daemon/targets.js';
import { faultOf } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { Log } from '../log.js';
import type { RepairResult, VerifyReport } from '../publisher/target.js';
import { parseSnapshot } from '../repository/snapshot-file.js';
import type { RepositoryState } from '../repository/state.js';
import { shownTarget } from '../settings/target-settings.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  exitOf,
  idOf,
  nameOf,
  printJson,
  readTarget,
  unknownRepository,
} from './command-context.js';
import {
  cureOf,
  groupFindings,
  type NeededBy,
  neededBy,
  type Problem,
  problemText,
} from './verify-problems.js';

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
  const report = repaired && (await readTarget(context, name, (each) => reportOf(each, id)));
  if (repaired === undefined || report === undefined) {
    throw unknownRepository(context, repository ?? '', name);
  }
  const { files, findings, unit, problems } = report;
  const { repaired: mended, notDone } = repaired;
  const notRepaired = notDone.map(({ id: which, error: { message } }) => ({ id: which, message }));
  if (context.json) {
    const shown = shownTarget(name);
    const document =
      shown === undefined
        ? { files, findings, problems }
        : { target: shown, files, findings, problems };
    const hasRepairs = repair || shown === undefined;
    printJson(context, hasRepairs ? { ...document, mended, notRepaired } : document);
  } else {
    for (const what of mended) context.print(`repaired: ${what}\n`);
    for (const { id: which, message } of notRepaired) {
      context.print(
        `not repaired: ${which === null ? '' : `${nameOf(context, which)}: `}${message}\n`,
      );
    }
    const cure = cureOf(shownTarget(name), repair);
    for (const each of problems) context.print(problemText(each, each.neededBy, cure));
    context.print(`${files} ${unit} read, ${problems.length} problems found\n`);
  }
  return findings.length === 0 ? exitOf(notDone.map(({ error }) => error)) : EXIT.system;
}

type Reader = Parameters<Parameters<typeof readTarget>[2]>[0];

interface GroupedReport extends VerifyReport {
  readonly problems: readonly (Problem & { readonly neededBy: readonly NeededBy[] })[];
}

async function reportOf(
  target: Reader,
  id: RepositoryId | undefined,
): Promise<GroupedReport | undefined> {
  const report = await target.verify(id);
  if (report === undefined) return undefined;
  const problems = groupFindings(report.findings);
  const isContent = problems.some(({ digest }) => digest !== undefined);
  const ids = id === undefined ? await target.repositories() : [id];
  const states = isContent ? await statesOf(target, ids) : [];
  return {
    ...report,
    problems: problems.map((problem) => ({
      ...problem,
      neededBy: problem.digest === undefined ? [] : neededBy(problem.digest, states),
    })),
  };
}

/** The current snapshots, without those that cannot be read: they are among the findings. */
async function statesOf(
  target: Reader,
  ids: readonly RepositoryId[],
): Promise<readonly RepositoryState[]> {
  const states: RepositoryState[] = [];
  for (const id of ids) {
    try {
      const current = await target.currentText(id);
      if (current) states.push(parseSnapshot(Buffer.from(current.text), id).state);
    } catch (error) {
      if (faultOf(error) === 'bug') throw error;
    }
  }
  return states;
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
