/** A single delivery attempt, with real programs and a real HTTP server. */
import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Delivery, deliver } from '#src/notify/deliver.js';
import type { Notice, Target } from '#src/notify/notice.js';
import { type Behaviour, Receiver } from '../support/receiver.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const NOTICE = {
  ...{ version: 1, event: 'published', id: 'team~app@T', at: 'T', repository: 'team/app' },
  ...{ snapshot: 'S', base: null, tags: [], untagged: [], drops: [], detail: null },
} as unknown as Notice;
const BODY = Buffer.from(`${JSON.stringify(NOTICE)}\n`);

function attempt(
  how: Target['how'],
  more: { timeoutMs?: number; signal?: AbortSignal; environment?: Record<string, string> } = {},
): Promise<Delivery> {
  const { timeoutMs = 10_000, signal = new AbortController().signal } = more;
  const { environment = { PATH: process.env.PATH } } = more;
  const target = { key: 'k', name: 'n', on: [], repositories: [], how, timeoutMs } as Target;
  return deliver({ target, notice: NOTICE, body: BODY, environment, signal });
}

describe('posting a notification', () => {
  let receiver: Receiver;
  const to = async (behave: Behaviour) => {
    receiver = await Receiver.open(behave);
    return { post: `${receiver.url}/hook?a=b`, secretFile: undefined };
  };
  afterEach(async () => {
    await receiver?.close();
    removeTempDirs();
  });

  it('sends the document, signed with the current secret from its file', async () => {
    const secretFile = join(tempDir(), 'secret');
    writeFileSync(secretFile, 'first\n');
    const how = { ...(await to(() => 204)), secretFile };
    expect(await attempt(how)).to.deep.equal({ ok: true });
    writeFileSync(secretFile, 'second');
    expect(await attempt(how)).to.deep.equal({ ok: true });
    const [one, two] = receiver.posted;
    expect(one?.method).to.equal('POST');
    expect(one?.path).to.equal('/hook?a=b');
    expect(one?.body.equals(BODY)).to.equal(true);
    expect(one?.headers['x-dropdock-event']).to.equal('published');
    const sign = (secret: string) => createHmac('sha256', secret).update(BODY).digest('hex');
    expect(one?.headers['x-hub-signature-256']).to.equal(`sha256=${sign('first')}`);
    expect(two?.headers['x-hub-signature-256']).to.equal(`sha256=${sign('second')}`);
  });

  for (const [status, why] of [
    [500, 'absent'],
    [503, 'absent'],
    [429, 'absent'],
    [408, 'absent'],
    [400, 'refused'],
    [404, 'refused'],
    [302, 'refused'],
  ] as const) {
    it(`treats ${status} as ${why}`, async () => {
      const got = await attempt(await to(() => status));
      expect(got).to.deep.equal({ ok: false, why, what: `HTTP status ${status}` });
    });
  }

  it('gives up on a server that hangs, and ignores an endless response body', async () => {
    const got = await attempt(await to(() => 'hang'), { timeoutMs: 100 });
    expect(got).to.deep.equal({ ok: false, why: 'absent', what: 'no response within 100ms' });
    await receiver.close();
    const endless = await to(() => (response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('x'.repeat(1000)), 1);
      response.on('close', () => clearInterval(timer));
    });
    expect(await attempt(endless)).to.deep.equal({ ok: true });
  });

  it('reports an unreachable receiver when nothing listens, or the connection breaks', async () => {
    const how = await to(() => (response) => response.destroy());
    expect(await attempt(how)).to.deep.equal({ ok: false, why: 'absent', what: 'socket hang up' });
    await receiver.close();
    expect(await attempt(how)).to.deep.equal({ ok: false, why: 'absent', what: 'ECONNREFUSED' });
    receiver = await Receiver.open();
  });

  it('sends nothing unsigned when a secret is configured', async () => {
    const secretFile = join(tempDir(), 'secret');
    const how = { ...(await to(() => 200)), secretFile };
    expect(await attempt(how)).to.include({ ok: false, why: 'absent' });
    writeFileSync(secretFile, '\n');
    expect(await attempt(how)).to.include({ what: 'the secret file is empty' });
    expect(receiver.posted).to.have.length(0);
  });

  it('stops on request', async () => {
    const stop = new AbortController();
    const got = attempt(await to(() => 'hang'), { signal: stop.signal });
    await waitFor('it to be posted', () => receiver.posted.length === 1);
    stop.abort();
    expect((await got).ok).to.equal(false);
  });
});

describe('running a program for a notification', () => {
  afterEach(removeTempDirs);
  const sh = (script: string, ...given: string[]) => ({
    run: ['sh', '-c', script, 'sh', ...given],
  });
  const isAlive = (pid: number) => {
    try {
      return process.kill(pid, 0) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
    } catch {
      return false;
    }
  };

  it('passes the document on standard input, and names in its environment', async () => {
    const out = join(tempDir(), 'out');
    const environment = { PATH: process.env.PATH ?? '', OURS: 'yes', NOTIFY_SOCKET: '/run/x' };
    const script = 'cat > "$1"; env | grep -E "^(DROPDOCK_|OURS|NOTIFY_)" | sort >> "$1"';
    expect(await attempt(sh(script, out), { environment })).to.deep.equal({ ok: true });
    expect(readFileSync(out, 'utf8')).to.equal(
      `${BODY}DROPDOCK_BY=\nDROPDOCK_EVENT=published\nDROPDOCK_ID=team~app@T\n` +
        'DROPDOCK_REPOSITORY=team/app\nDROPDOCK_SNAPSHOT=S\nOURS=yes\n',
    );
  });

  it('uses its exit code as the result, with its last line of error output', async () => {
    expect(await attempt(sh('exit 3'))).to.deep.equal({
      ok: false,
      why: 'refused',
      what: 'exit code 3',
    });
    expect(await attempt(sh('echo one >&2; echo two >&2; exit 75'))).to.deep.equal({
      ...{ ok: false, why: 'absent', what: 'exit code 75: two' },
    });
    expect(await attempt(sh('kill -9 $$'))).to.include({ what: 'killed by SIGKILL' });
  });

  it('does not require the program to read its input, nor anyone to read its output', async () => {
    expect(await attempt({ run: ['true'] })).to.deep.equal({ ok: true });
    expect(await attempt(sh('yes | head -c 3000000; yes | head -c 3000000 >&2'))).to.include({
      ok: true,
    });
  });

  it('reports a missing program', async () => {
    const got = await attempt({ run: ['/nowhere/at/all'] });
    expect(got).to.deep.equal({ ok: false, why: 'absent', what: 'ENOENT' });
  });

  it('kills a hanging program and its children, even if it ignores signals', async () => {
    const pids = join(tempDir(), 'pids');
    const script = 'trap "" TERM; sleep 1000 & echo $! $$ > "$1"; while :; do sleep 1; done';
    const got = await attempt(sh(script, pids), { timeoutMs: 300 });
    expect(got).to.deep.equal({ ok: false, why: 'refused', what: 'timed out after 300ms' });
    const [child = 0, own = 0] = readFileSync(pids, 'utf8').split(/\s/).map(Number);
    await waitFor('both to be gone', () => !isAlive(child) && !isAlive(own));
  });

  it('does not wait for its background processes', async () => {
    const pids = join(tempDir(), 'pids');
    // The child holds standard error open.
    expect(await attempt(sh('sleep 1000 & echo $! > "$1"', pids))).to.deep.equal({ ok: true });
    process.kill(Number(readFileSync(pids, 'utf8')));
  });

  it('stops on request', async () => {
    const stop = new AbortController();
    const got = attempt(sh('exec sleep 1000'), { signal: stop.signal });
    stop.abort();
    expect(await got).to.include({ ok: false, what: 'aborted' });
  });
});
