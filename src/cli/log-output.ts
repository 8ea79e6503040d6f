/** Opens a command's log: standard output or, for the daemon, the file `log.file`. */

import { type OpenLog, openLog } from '../log.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';
import { LogFile } from '../storage/log-file.js';

export interface LogOutput extends Pick<OpenLog, 'log' | 'close'> {
  /** Applies level and format, and reopens the file (logrotate may have renamed it). */
  reopen(settings: Settings['log']): void;
}

export interface LogOutputOptions {
  /** False for a command that another user may run: it must not create a file that the daemon cannot write. */
  readonly mayUseFile: boolean;
  readonly isJournal: boolean;
  /** Writes to standard output. */
  readonly print: (text: string) => void;
}

export function openLogOutput(
  settings: Settings['log'],
  { mayUseFile, isJournal, print }: LogOutputOptions,
): LogOutput {
  const path = mayUseFile ? settings.file : null;
  const file =
    path === null ? undefined : new LogFile({ path, fallback: print, onChange: logChange });
  const sink = file ? { stream: file } : { isJournal };
  const { log, configure, close } = openLog(settings, sink);
  return {
    log,
    close,
    reopen: (next) => {
      configure(next);
      file?.reopen();
    },
  };

  function logChange(error: Error | undefined): void {
    if (error) log('error', 'log.failed', { path, ...errorFields(error) });
    else log('info', 'log.resumed', { path });
  }
}
