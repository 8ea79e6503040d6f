/** `dropdock copy`: fills a new target from another one, or makes a diverged one equal again. */
import { copyRepository } from '../daemon/copy-repository.js';
import { openServices } from '../daemon/services.js';
import { targetNamed } from '../daemon/targets.js';
import { DropdockError } from '../errors.js';
import type { Log } from '../log.js';
import { errorFields } from '../report.js';
import { addProgress, newProgress } from '../storage/progress.js';
import { emptyTrash } from '../storage/trash.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  idOf,
  nameOf,
  printJson,
} from './command-context.js';
import { ProgressLine, type ProgressOutput } from './progress-line.js';

export interface CopyOptions {
  readonly from: string | undefined;
  readonly to: string | undefined;
  /** Empty: all repositories of the source. */
  readonly repositories: readonly string[];
  readonly progress: ProgressOutput;
}

export async function copy(
  context: CommandContext,
  log: Log,
  { from: source, to: destination, repositories, progress }: CopyOptions,
): Promise<ExitCode> {
  if (source === undefined || destination === undefined) {
    throw new DropdockError(
      'usage.invalid',
      'Both --from <target> and --to <target> are required.',
    );
  }
  const from = targetNamed(context.settings, source);
  const to = targetNamed(context.settings, destination);
  if (from === to)
    throw new DropdockError('usage.invalid', `--from and --to name the same target "${from}".`);
  const services = await openServices(() => context.settings, log);
  const done: object[] = [];
  const failures: Error[] = [];
  try {
    const targets = { from: services.targets.get(from), to: services.targets.get(to) };
    const named = repositories.map((name) => idOf(context, name));
    const ids = named.length > 0 ? named : await targets.from.repositories();
    for (const [at, id] of ids.entries()) {
      const copied = newProgress();
      let line: ProgressLine | undefined;
      const name = nameOf(context, id);
      const label = `copying ${at + 1}/${ids.length} ${name}`;
      try {
        const result = await copyRepository(services, targets, id, {
          by: context.by,
          onTotal: (bytes) => {
            line = new ProgressLine(progress, label, copied, bytes);
          },
          onBytes: (count) => addProgress(copied, count),
        });
        line?.end();
        const { status = 'absent', snapshot = null, moves = [] } = result ?? {};
        done.push({ id, status, snapshot, moves });
        if (!context.json) context.print(`${status} ${name} ${snapshot ?? ''}\n`);
      } catch (error) {
        line?.end();
        // One failing repository must not keep the others from being copied.
        failures.push(error as Error);
        done.push({ id, status: 'failed', ...errorFields(error as Error) });
        if (!context.json) context.print(`failed ${name} ${(error as Error).message}\n`);
      }
    }
    await services.run(emptyTrash, { roots: services.roots });
    if (context.json) printJson(context, { from, to, repositories: done });
    if (failures[0]) throw failures[0];
    return EXIT.done;
  } finally {
    await services.close();
  }
}
