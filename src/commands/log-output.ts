/** Where the log of a command goes: standard output, or for the daemon the file of `log.file`. */
import { LogFile } from '../disk/log-file.js';
import { type OpenLog, openLog } from '../log.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';

export interface LogOutput extends Pick<OpenLog, 'log' | 'close'> {
  /** Opens the file again, and goes by the settings as they are now. */
  reopen(): void;
}

export interface LogOutputOptions {
  /** A command that somebody else runs must not make files that the daemon cannot write. */
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
  if (path === null) {
    const { log, configure, close } = openLog(settings, { isJournal });
    return { log, close, reopen: () => configure(settings) };
  }
  const file = new LogFile({ path, wayRound: print, onChange: tell });
  const opened = openLog(settings, { write: (line) => file.write(line) });
  return {
    log: opened.log,
    close: async () => {
      await opened.close();
      await file.close();
    },
    reopen: () => {
      opened.configure(settings);
      file.reopen();
    },
  };

  function tell(error: Error | undefined): void {
    if (error) opened.log('error', 'log.failed', { path, ...errorFields(error) });
    else opened.log('info', 'log.resumed', { path });
  }
}
