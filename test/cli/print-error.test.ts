/** What a failed command prints. */
import { expect } from 'chai';
import { printError } from '#src/cli/print-error.js';
import { DropdockError, ERROR_CODES, type ErrorCode } from '#src/errors.js';

describe('printError', () => {
  const printed = (error: Error, json = false) => {
    let text = '';
    printError(error, json, (more) => {
      text += more;
    });
    return text;
  };

  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    it(`promises no retry of a command (${code})`, () => {
      const error = new DropdockError(code, 'It failed.');
      expect(printed(error) + printed(error, true)).not.to.match(
        /is retried|automatically|drop waits/,
      );
    });
  }

  it('promises no retry when the disk is full', () => {
    const full = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });
    expect(printed(full)).to.contain('Free some space and run the command again.');
    expect(JSON.parse(printed(full, true)).error).to.include({ code: 'ENOSPC' });
  });
});
