/** Prints the error of a failed command and selects its exit code. */
import { DropdockError, faultOf } from '../errors.js';
import { errorFields } from '../report.js';
import { EXIT, type ExitCode } from './command-context.js';

/** @param write to standard error */
export function printError(error: unknown, json: boolean, write: (text: string) => void): ExitCode {
  const fields = errorFields(error as Error);
  if (json) write(`${JSON.stringify({ error: fields })}\n`);
  else {
    write(`dropdock: ${fields.message} (${fields.code})\n`);
    if (fields.hint) write(`  ${fields.hint}\n`);
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
