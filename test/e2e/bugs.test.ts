/**
 * Goal: an unexpected error ends the process on purpose: with a log line, the exit code for bugs (on
 * which systemd restarts), and no partial state. Method: inject code into the daemon that fails outside
 * any awaited call.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { DaemonProcess, QUICK } from '../support/daemon-process.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

/** Code that a daemon runs once the file is there; its threads do not run it. */
const whenThere = (file: string, code: string) => `
  import { existsSync } from 'node:fs';
  import { isMainThread } from 'node:worker_threads';
  if (isMainThread) {
    const timer = setInterval(() => {
      if (!existsSync(${JSON.stringify(file)})) return;
      clearInterval(timer);
      ${code}
    }, 10);
    timer.unref();
  }`;

describe('a bug outside any awaited call', () => {
  afterEach(removeTempDirs);

  const failures = {
    'a promise without a handler': `Promise.reject(new Error('made up'));`,
    'an error that a timer throws': `throw new Error('made up');`,
    // Content or system, it was not meant to arrive here.
    'an error of the system': `throw Object.assign(new Error('made up'), { code: 'EIO', syscall: 'read' });`,
  };
  for (const [what, code] of Object.entries(failures)) {
    it(`ends the daemon with a log line and the exit code for bugs: ${what}`, async () => {
      const root = tempDir();
      mkdirSync(join(root, 'inbox'));
      const [trigger, log] = [join(root, 'now'), join(root, 'log')];
      const preload = `data:text/javascript,${encodeURIComponent(whenThere(trigger, code))}`;
      const daemon = await DaemonProcess.start(root, {
        yaml: `${QUICK}log: {file: ${JSON.stringify(log)}, format: json}\n`,
        nodeOptions: ['--import', preload],
        ready: () => existsSync(log) && readFileSync(log, 'utf8').includes('daemon.ready'),
      });
      writeFileSync(trigger, '');
      await waitFor('its end', () => daemon.hasEnded);
      expect(daemon.child.exitCode, daemon.output).to.equal(3);
      const last = JSON.parse(readFileSync(log, 'utf8').trimEnd().split('\n').at(-1) ?? '');
      expect(last).to.include({ event: 'daemon.failed', level: 'error', message: 'made up' });
      expect(last.stack).to.include('data:text/javascript');
      expect(daemon.output).to.include('made up');
    });
  }
});
