import { expect } from 'chai';
import { commandLineOf } from '#src/cli/command-line.js';
import { type WelcomeFacts, welcomeText } from '#src/cli/welcome.js';

const FACTS: WelcomeFacts = {
  version: '1.2.3',
  inbox: '/x/var/inbox',
  ownInbox: '/x/var/state/own',
  published: '/x/var/published',
  sample: '/x/config/hello',
  endpoint: { urls: ['http://127.0.0.1:5000'], problems: [] },
  commandLine: commandLineOf({ program: 'node dist/main.js', root: 'var' }),
};
const at = (url: string) => welcomeText({ ...FACTS, endpoint: { urls: [url], problems: [] } });

describe('the first screen', () => {
  it('shows the page, an example without other tools, commands to pull, and the next command', () => {
    const text = welcomeText(FACTS);
    expect(text).to.contain('published: http://127.0.0.1:5000/\n');
    expect(text).to.contain('  cp -r /x/config/hello /x/var/inbox/hello:1.0\n');
    expect(text).to.contain('  docker pull 127.0.0.1:5000/hello:1.0\n');
    expect(text).to.contain('  curl http://127.0.0.1:5000/v2/hello/manifests/1.0\n');
    expect(text).to.contain('  cat /x/var/state/own/.receipts/*.json\n');
    expect(text).to.contain('  node dist/main.js status --root var\n');
  });

  it('names an address that clients can connect to', () => {
    for (const url of ['http://[::]:5000', 'http://0.0.0.0:5000']) {
      const text = at(url);
      expect(text).to.contain('docker pull 127.0.0.1:5000/hello:1.0');
      expect(text).to.contain('http://127.0.0.1:5000/ (from other machines: http://');
      expect(text).to.not.match(/0\.0\.0\.0|\[::\]/);
    }
    // Docker's and skopeo's names of images have no IPv6 addresses.
    expect(at('http://[::1]:5000')).to.contain('docker pull localhost:5000/hello:1.0');
    expect(at('https://127.0.0.1:443')).to.contain(
      'curl --insecure https://127.0.0.1:443/v2/hello',
    );
  });

  it('uses curl for a Unix socket', () => {
    const text = at('/run/my dock/socket');
    expect(text).to.contain(
      "curl --unix-socket '/run/my dock/socket' http://localhost/v2/hello/manifests/1.0",
    );
    expect(text).to.not.contain('docker pull');
  });

  it('says where the commands to pull would be that the port is taken, and how to use another', () => {
    const problem = { address: ':5000', code: 'EADDRINUSE', message: 'in use', hint: 'Stop it.' };
    const text = welcomeText({ ...FACTS, endpoint: { urls: [], problems: [problem] } });
    expect(text).to.match(
      /hello:1\.0\n\n +It CANNOT BE PULLED: dropdock does not listen at :5000: in use\./,
    );
    expect(text).to.contain(
      'DROPDOCK_REGISTRY_LISTEN=127.0.0.1:5077 node dist/main.js run --welcome --root var',
    );
    expect(text).to.contain('ls /x/var/published/web/hello/manifests/*/');
    expect(text).to.not.contain('docker pull');
    const other = { ...problem, code: 'EACCES' };
    const said = welcomeText({ ...FACTS, endpoint: { urls: [], problems: [other] } });
    expect(said).to.contain('Stop it.');
  });

  it('does without the example image where that is not installed', () => {
    const text = welcomeText({ ...FACTS, sample: undefined });
    expect(text).to.contain('docker save app:1.0 -o /x/var/inbox/app:1.0.tar');
    expect(text).to.contain('docker pull 127.0.0.1:5000/app:1.0').and.not.contain('cp -r');
  });
});
