/** Logs what commands changed: they run in other processes and write to their caller. */

import { changedTags, describeTags } from '../repository/flip-details.js';
import type { TagMove } from '../repository/merge.js';
import { type CommandNote, noteCommand, takeCommandNotes } from '../storage/command-notes.js';
import type { Services } from './services.js';

/** For the daemon: logs the changes since the last call. */
export async function logCommands({ run, roots, log }: Services): Promise<void> {
  for (const note of await run(takeCommandNotes, { roots })) {
    const { command, repository: repo, target, by, snapshot, tags } = note;
    log('info', 'command.done', { command, repo, target, by, snapshot, tags: tags || undefined });
  }
}

/** What a command changed; nothing is noted when no snapshot was made. */
export interface CommandChange extends Omit<CommandNote, 'snapshot' | 'tags'> {
  readonly snapshot: string | null;
  readonly moves: readonly TagMove[];
}

/** For a command: tells the daemon. Never fails the command, whose change has taken effect. */
export async function tellDaemon(
  { run, roots, owner: { token } }: Services,
  { snapshot, moves, ...change }: CommandChange,
): Promise<void> {
  if (snapshot === null) return;
  const note = { ...change, snapshot, tags: describeTags(changedTags(moves)) };
  await run(noteCommand, { roots, owner: token, note }).catch(() => {
    // It is in the history in any case.
  });
}
