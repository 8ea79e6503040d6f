import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { expect } from 'chai';
import { openLog } from '#src/log.js';
import { LogFile } from '#src/storage/log-file.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { tool } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

describe('a log file', () => {
  let path: string;
  let around: string;
  let changes: (string | undefined)[];
  let file: LogFile;

  function open(): void {
    around = '';
    changes = [];
    file = new LogFile({
      path,
      fallback: (text) => {
        around += text;
      },
      onChange: (error) => changes.push((error as NodeJS.ErrnoException | undefined)?.code),
    });
  }
  beforeEach(() => {
    path = join(tempDir(), 'some.log');
  });
  const close = () => finished(file.end());
  afterEach(async () => {
    await close();
    removeTempDirs();
  });
  const text = () => (existsSync(path) ? readFileSync(path, 'utf8') : '');
  const holds = (lines: string) => waitFor(lines, () => text() === lines);

  it('contains all lines in order, after those of the previous process', async () => {
    open();
    file.write('a\n');
    await close();
    open();
    const many = Array.from({ length: 1000 }, (_none, at) => `${at}\n`);
    for (const line of many) file.write(line);
    await close();
    expect(text()).to.equal(`a\n${many.join('')}`);
    expect(statSync(path).mode & 0o777).to.equal(0o640);
    expect(around).to.equal('');
  });

  it('writes to the renamed file until reopened, then to a new one', async () => {
    open();
    file.write('a\n');
    await holds('a\n');
    renameSync(path, `${path}.1`);
    file.write('b\n');
    await waitFor('b', () => readFileSync(`${path}.1`, 'utf8') === 'a\nb\n');
    file.reopen();
    await waitFor('a new file', () => existsSync(path));
    file.write('c\n');
    await holds('c\n');
    expect(readFileSync(`${path}.1`, 'utf8')).to.equal('a\nb\n');
    expect(changes).to.deep.equal([]);
  });

  it('loses no lines when it is reopened while lines are pending', async () => {
    open();
    const many = Array.from({ length: 500 }, (_none, at) => `${at}\n`);
    for (const [at, line] of many.entries()) {
      file.write(line);
      if (at % 50 === 0) file.reopen();
      if (at % 100 === 0) await holds(many.slice(0, at + 1).join(''));
    }
    await holds(many.join(''));
  });

  it('writes lines to the fallback while the disk is full, and reports that once', async () => {
    symlinkSync('/dev/full', path);
    open();
    for (const line of ['a\n', 'b\n']) {
      file.write(line);
      await waitFor(line, () => around.endsWith(line));
    }
    rmSync(path);
    file.reopen();
    file.write('c\n');
    await holds('c\n');
    expect(around).to.equal('a\nb\n');
    expect(changes).to.deep.equal(['ENOSPC', undefined]);
  });

  it('starts with the next line once the file can be opened', async () => {
    const directory = join(path, '..', 'later');
    path = join(directory, 'some.log');
    open();
    file.write('a\n');
    await waitFor('a', () => around === 'a\n');
    mkdirSync(directory);
    file.write('b\n');
    await holds('b\n');
    expect(changes).to.deep.equal(['ENOENT', undefined]);
  });

  it('writes lines after its close to the fallback', async () => {
    open();
    await close();
    file.reopen();
    file.write('late\n');
    expect(around).to.equal('late\n');
  });

  it('buffers a bounded number of lines for a hanging disk, and still closes', async () => {
    // Nobody reads: to open a FIFO for writing waits for ever.
    await tool('mkfifo', path);
    open();
    const line = `${'x'.repeat(1024 * 1024)}\n`;
    for (let count = 0; count < 8; count++) file.write(line);
    expect(around.length).to.be.within(line.length, 4 * line.length);
    const began = performance.now();
    await openLog({ level: 'info', format: 'text' }, { stream: file }).close();
    expect(performance.now() - began).to.be.below(5000);
    // Lets the thread that waits in open(2) go, or this process would not end.
    await tool('cp', path, '/dev/null');
  });
});
