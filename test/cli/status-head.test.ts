import { expect } from 'chai';
import { commandLineOf } from '#src/cli/command-line.js';
import { type DaemonReport, headText } from '#src/cli/status-head.js';

const TREE = { inbox: '/x/inbox', published: '/x/published', state: '/x/state', exists: true };
const DAEMON = { pid: 7, owner: 'p7', at: 0, version: '1.2.3' };
const commandLine = commandLineOf({ program: 'dropdock', root: '/x' });
const head = (tree: typeof TREE, ...daemons: DaemonReport[]) =>
  headText({ tree, daemons }, commandLine);

describe('the head of the status', () => {
  it('names the tree, the daemon with its version, and where it listens', () => {
    const endpoint = { urls: ['http://127.0.0.1:5000'], problems: [] };
    expect(head(TREE, { ...DAEMON, endpoint })).to.equal(
      'tree      /x\ndaemon    version 1.2.3, running (pid 7)\nendpoint  http://127.0.0.1:5000\n',
    );
    const apart = head({ ...TREE, published: '/srv/v2' }, DAEMON);
    expect(apart).to.match(/^inbox +\/x\/inbox\npublished +\/srv\/v2\nstate +\/x\/state\ndaemon/);
  });

  it('says why the endpoint does not listen, and what to do', () => {
    const problem = { address: ':443', code: 'EACCES', message: 'not allowed', hint: 'Allow it.' };
    const text = head(TREE, { ...DAEMON, endpoint: { urls: [], problems: [problem] } });
    expect(text).to.contain('endpoint  NOT LISTENING at :443: not allowed\n          Allow it.\n');
    const none = head(TREE, { ...DAEMON, endpoint: { urls: [], problems: [] } });
    expect(none).to.contain('none (registry.listen is null)');
  });

  it('says that no daemon runs, how to start it, and that there is no tree', () => {
    expect(head(TREE)).to.contain(
      'No daemon is running on this tree; start it with: dropdock run --root /x\n',
    );
    expect(head(TREE)).to.not.contain('Nothing is there');
    expect(head({ ...TREE, exists: false })).to.contain(
      'tree    /x\n        Nothing is there yet.',
    );
  });

  it('shows a daemon of an earlier version, whose status file says less', () => {
    expect(head(TREE, { pid: 7, owner: 'p7', at: 0 })).to.contain('daemon  running (pid 7)\n');
  });
});
