import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { managerAddress, ServiceManager } from '#src/daemon/systemd.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('systemd notifications', () => {
  let heard: string;
  let path: string | undefined;
  let manager: ServiceManager | undefined;

  /** In place of systemd-notify: it is found by PATH, and writes down what it was to say to whom. */
  beforeEach(() => {
    const root = tempDir();
    heard = join(root, 'heard');
    mkdirSync(join(root, 'bin'));
    const script = `#!/bin/sh\nprintf '%s|' "$NOTIFY_SOCKET" "$@" >> ${heard}\necho >> ${heard}\n`;
    writeFileSync(join(root, 'bin', 'systemd-notify'), script);
    chmodSync(join(root, 'bin', 'systemd-notify'), 0o755);
    path = join(root, 'bin');
  });
  afterEach(async () => {
    await manager?.close();
    removeTempDirs();
  });
  const open = (watchdogMs?: number, socket: string | undefined = '/run/n') => {
    const troubles: string[] = [];
    const tool = join(path ?? '', 'systemd-notify');
    manager = new ServiceManager(
      { socket, watchdogMs },
      (error) => troubles.push(error.message),
      tool,
    );
    return { manager, troubles };
  };
  const lines = () => (existsSync(heard) ? readFileSync(heard, 'utf8').trimEnd().split('\n') : []);

  it('are sent in order, each in one message', async () => {
    const { manager, troubles } = open();
    manager.ready('Pulls at x');
    manager.status('NOT LISTENING at x');
    manager.reloading();
    manager.ready('bad\nREADY=0');
    manager.stopping('ends');
    await manager.close();
    expect(lines()).to.deep.equal([
      '/run/n|READY=1|STATUS=Pulls at x|',
      '/run/n|STATUS=NOT LISTENING at x|',
      '/run/n|RELOADING=1|',
      '/run/n|READY=1|STATUS=bad READY=0|',
      '/run/n|STOPPING=1|STATUS=ends|',
    ]);
    expect(troubles).to.deep.equal([]);
  });

  it('are repeated as a watchdog signal only while the daemon is alive', async () => {
    const { manager } = open(40);
    let isAlive = true;
    manager.guard(() => isAlive);
    await waitFor('some signs', () => lines().length >= 3);
    isAlive = false;
    // What was on its way arrives; from then on a question is answered by silence.
    await manager.close();
    const count = lines().length;
    let asked = 0;
    const other = new ServiceManager(
      { socket: '/run/n', watchdogMs: 40 },
      () => {},
      join(path ?? '', 'systemd-notify'),
    );
    other.guard(() => {
      asked++;
      return false;
    });
    await waitFor('to be asked', () => asked >= 5);
    await other.close();
    expect(lines()).to.have.length(count);
    expect(new Set(lines())).to.deep.equal(new Set(['/run/n|WATCHDOG=1|']));
  });

  it('are not sent without a notify socket or without a watchdog', async () => {
    const { manager } = open(undefined, '');
    manager.ready('x');
    await manager.close();
    const watched = open(undefined).manager;
    watched.guard(() => true);
    await watched.close();
    expect(lines()).to.deep.equal([]);
  });

  it('are logged once when they cannot be sent', async () => {
    path = '/nowhere';
    const { manager, troubles } = open();
    manager.ready('x');
    manager.stopping('y');
    await manager.close();
    expect(troubles).to.have.length(1);
    expect(troubles[0]).to.include('ENOENT');
  });

  it('continue after a message that could not be started', async () => {
    const { manager, troubles } = open();
    // Linux takes no argument longer than 128 KiB: spawn throws instead of telling of an error.
    manager.ready('x'.repeat(200_000));
    manager.stopping('ends');
    await manager.close();
    expect(troubles).to.have.length(1);
    expect(troubles[0]).to.include('E2BIG');
    expect(lines()).to.deep.equal(['/run/n|STOPPING=1|STATUS=ends|']);
  });

  it('go to the socket in the environment, which child processes do not inherit', () => {
    const environment = { NOTIFY_SOCKET: '/run/n', WATCHDOG_USEC: '60000000', HOME: '/' };
    expect(managerAddress(environment)).to.deep.equal({ socket: '/run/n', watchdogMs: 60_000 });
    expect(environment).to.deep.equal({ HOME: '/' });
    const other = { WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' };
    expect(managerAddress(other)).to.deep.equal({ socket: undefined, watchdogMs: undefined });
  });
});
