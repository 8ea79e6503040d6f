import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import {
  DropdockError,
  ERROR_CODES,
  faultOf,
  fromPlainError,
  hasErrno,
  isSystemError,
  toPlainError,
} from '#src/errors.js';

/** A real one, as Node throws it. */
function systemError(): Error {
  try {
    readFileSync('/does/not/exist');
  } catch (error) {
    return error as Error;
  }
  throw new Error('it exists');
}
const crossed = (error: unknown) => fromPlainError(structuredClone(toPlainError(error)));

describe('errors', () => {
  it('have a code that tells whose fault they are and what to do', () => {
    for (const [code, { fault, hint }] of Object.entries(ERROR_CODES)) {
      const error = new DropdockError(code as keyof typeof ERROR_CODES, 'A sentence.');
      expect(error.fault, code).to.equal(fault).and.to.be.oneOf(['content', 'system', 'usage']);
      expect(error.hint, code).to.equal(hint).and.to.match(/\S\.$/);
    }
  });

  const faults: readonly [string, unknown, string][] = [
    ['a wrong drop', new DropdockError('digest.mismatch', 'x'), 'content'],
    ['a lost lock', new DropdockError('lock.lost', 'x'), 'system'],
    ['a wrong setting', new DropdockError('settings.invalid', 'x'), 'usage'],
    ['the operating system', systemError(), 'system'],
    ['a wrong type', new TypeError('x'), 'bug'],
    ['an error with a code and no system call', Object.assign(new Error(), { code: 'X' }), 'bug'],
    ['a value that is no error', 'text', 'bug'],
    ['nothing', undefined, 'bug'],
  ];
  for (const [what, error, fault] of faults) {
    it(`classify ${what} as: ${fault}`, () => {
      expect(faultOf(error)).to.equal(fault);
    });
  }

  it('of the system are identified by their errno', () => {
    expect(isSystemError(systemError())).to.equal(true);
    expect(hasErrno(systemError(), 'EIO', 'ENOENT')).to.equal(true);
    expect(hasErrno(systemError(), 'EIO')).to.equal(false);
    expect(hasErrno(new DropdockError('drop.empty', 'x'), 'drop.empty')).to.equal(false);
  });
});

describe('errors that cross threads', () => {
  it('keep their class, code, details and cause', () => {
    const details = { path: 'a', missing: ['b', 'c'], found: 3 };
    const error = new DropdockError('content.missing', 'A sentence.', details, systemError());
    const arrived = crossed(error);
    expect(arrived).to.be.instanceOf(DropdockError);
    expect(arrived).to.include({
      code: 'content.missing',
      message: 'A sentence.',
      fault: 'content',
    });
    expect((arrived as DropdockError).details).to.deep.equal(details);
    expect(arrived.stack).to.equal(error.stack);
    expect(hasErrno(arrived.cause, 'ENOENT')).to.equal(true);
  });

  it('of the system stay system errors, with their path', () => {
    const arrived = crossed(systemError());
    expect(faultOf(arrived)).to.equal('system');
    expect(arrived).to.include({ code: 'ENOENT', syscall: 'open', path: '/does/not/exist' });
  });

  it('stay bugs, whatever value was thrown', () => {
    for (const thrown of [new TypeError('oh'), 'text', undefined, { code: 'X', syscall: 'y' }]) {
      expect(faultOf(crossed(thrown))).to.equal('bug');
    }
    expect(crossed(new TypeError('oh')).message).to.equal('oh');
  });
});
