/** The command init: creates the directories. */
import { resolve } from 'node:path';
import { prepareInbox } from '../inbox/claim.js';
import { prepareTree } from '../storage/prepare-tree.js';
import { allDirectories } from '../storage/tree-paths.js';
import {
  type CommandContext,
  EXIT,
  type ExitCode,
  printJson,
  rootsOf,
  runHere,
} from './command-context.js';

export async function init(context: CommandContext): Promise<ExitCode> {
  const roots = rootsOf(context);
  const inbox = resolve(context.settings.paths.inbox);
  await runHere(prepareTree, { roots, directories: allDirectories(roots) });
  await runHere(prepareInbox, { inbox });
  if (context.json) printJson(context, { inbox, ...roots });
  else {
    context.print(
      `inbox      ${inbox}\npublished  ${roots.published}\nstate      ${roots.state}\n`,
    );
    context.print(`Ready. Start the daemon with: ${context.commandLine('run')}\n`);
  }
  return EXIT.done;
}
