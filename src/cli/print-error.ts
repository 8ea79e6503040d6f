/** Prints the error of a failed command and selects its exit code. */
import { DropdockError, faultOf } from '../errors.js';
import { errorFields } from '../report.js';
import { EXIT, type ExitCode } from './command-context.js';

/** The hints of these errors promise a retry, as the daemon does it. A command does not. */
const COMMAND_HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'Free some space and run the command again.',
  'space.low': 'Free some space and run the command again.',
  'content.vanished': 'Content was deleted while it was used; run the command again.',
  'pivot.moved': 'Another publisher was faster; run the command again.',
  'lock.lost': 'The lock was lost (a long pause?); run the command again.',
  'claim.lost': 'The source is gone; check its path and run the command again.',
  'thread.failed': 'A worker thread ended unexpectedly; run the command again.',
  // The message has the command to run.
  'access.denied': '',
  'target.failed': 'The object store fails or refuses requests; run the command again later.',
};

/** @param write to standard error */
export function printError(error: unknown, json: boolean, write: (text: string) => void): ExitCode {
  const fields = errorFields(error as Error);
  const hint = COMMAND_HINTS[fields.code] ?? fields.hint;
  if (json) write(`${JSON.stringify({ error: { ...fields, ...(hint && { hint }) } })}\n`);
  else {
    write(`dropdock: ${fields.message} (${fields.code})\n`);
    if (hint) write(`  ${hint}\n`);
    if (faultOf(error) === 'bug') write(`${(error as Error).stack}\n`);
  }
  return exitCodeOf(error);
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof DropdockError && error.code === 'lock.busy') return EXIT.busy;
  switch (faultOf(error)) {
    case 'content':
      return EXIT.refused;
    case 'usage':
      return EXIT.usage;
    default:
      return EXIT.system;
  }
}
