/**
 * The authentication gate: accepted logins, how soon a changed password file takes effect, and the limit
 * on concurrent password checks.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { expect } from 'chai';
import type { PasswordRequest } from '#src/auth/check-password.js';
import { checkPassword } from '#src/auth/check-password.js';
import { type Caller, Gate } from '#src/auth/gate.js';
import { nodeDisk } from '#src/storage/disk.js';
import { basic } from '../support/ask.js';
import { htpasswdLine, writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { needTools, tool } from '../support/tools.js';

type Read = Parameters<Gate['options']['onRead']>[0];

describe('the gate', () => {
  let file: string;
  let clockMs: number;
  let checked: PasswordRequest[];
  let read: Read[];
  let gate: Gate;

  beforeEach(() => {
    file = join(tempDir(), 'htpasswd');
    clockMs = 0;
    [checked, read] = [[], []];
    gate = open();
  });
  after(removeTempDirs);

  function open(check = async (request: PasswordRequest) => compare(request)): Gate {
    return new Gate({
      htpasswd: file,
      run: async (_job, request) => {
        const given = request as PasswordRequest;
        checked.push(given);
        return (await check(given)) as never;
      },
      nowMs: () => clockMs,
      onRead: (what) => void read.push(what),
    });
  }
  const compare = (request: PasswordRequest) => checkPassword(nodeDisk, request);
  const toText = (caller: Caller) =>
    'name' in caller ? `${caller.kind} ${caller.name}` : caller.kind;
  const ask = async (name: string, password: string) =>
    toText(await gate.identify(basic(name, password).authorization));
  const later = (ms: number) => {
    clockMs += ms;
  };

  it('accepts users written by `htpasswd -B` with their own password only', async function () {
    needTools(this, 'htpasswd');
    await tool('htpasswd', '-cbB', file, 'alice', 'secret');
    await tool('htpasswd', '-bB', file, 'bob', 'other');
    expect(await ask('alice', 'secret')).to.equal('user alice');
    expect(await ask('bob', 'other')).to.equal('user bob');
    for (const [name = '', password = ''] of [
      ['alice', 'other'],
      ['bob', 'secret'],
      ['alice', ''],
      ['carol', 'secret'],
      ['', 'secret'],
      ['alice', 'secret '],
    ]) {
      expect(await ask(name, password)).to.equal(`refused ${name}`);
    }
  });

  it('rejects users with another kind of hash, and reports them', async function () {
    needTools(this, 'htpasswd');
    await tool('htpasswd', '-cbm', file, 'apr', 'secret');
    await tool('htpasswd', '-bs', file, 'sha', 'secret');
    await tool('htpasswd', '-bB', file, 'alice', 'secret');
    for (const name of ['apr', 'sha']) {
      expect(await ask(name, 'secret')).to.equal(`refused ${name}`);
    }
    expect(await ask('alice', 'secret')).to.equal('user alice');
    expect(read).to.deep.equal([{ ignored: ['apr', 'sha'], first: true }]);
  });

  it('treats no user as anonymous, and every client as anonymous if there is no password file', async () => {
    writeHtpasswd(file, { alice: 'secret' });
    expect(toText(await gate.identify(undefined))).to.equal('anonymous');
    expect(await ask('', '')).to.equal('anonymous');
    expect(toText(await gate.identify('Bearer x'))).to.equal('refused ');
    const open = new Gate({ ...gate.options, htpasswd: undefined });
    const { authorization } = basic('alice', 'wrong');
    expect(toText(await open.identify(authorization))).to.equal('anonymous');
    expect(checked).to.deep.equal([]);
  });

  it('caches a correct password for five minutes, and never a wrong one', async () => {
    writeHtpasswd(file, { alice: 'secret' });
    for (let n = 0; n < 3; n++) expect(await ask('alice', 'secret')).to.equal('user alice');
    expect(checked).to.have.length(1);
    for (let n = 0; n < 2; n++) expect(await ask('alice', 'wrong')).to.equal('refused alice');
    expect(checked).to.have.length(3);
    // No other pair of name and password has the same bytes.
    expect(await ask('alices', 'ecret')).to.equal('refused alices');
  });

  it('takes as long to check an unknown user as a known one', async () => {
    writeFileSync(file, `alice:${hashSync('secret', 7)}\n`);
    await ask('nobody', 'secret');
    expect(checked[0]?.hash).to.match(/^\$2b\$07\$[./A-Za-z0-9]{53}$/);
  });

  it('takes equally long for a wrong password of every user, whatever the cost of its hash', async () => {
    const costs = { low: 4, middle: 6, high: 9 };
    const lines = Object.entries(costs).map(
      ([name, cost]) => `${name}:${hashSync('secret', cost)}`,
    );
    writeFileSync(file, `${lines.join('\n')}\n`);
    const times: Record<string, number[]> = { low: [], middle: [], high: [], nobody: [] };
    for (let round = 0; round < 7; round++) {
      for (const [name, all] of Object.entries(times)) {
        const before = process.cpuUsage().user;
        expect(await ask(name, 'wrong')).to.equal(`refused ${name}`);
        all.push(process.cpuUsage().user - before);
      }
    }
    const medians = Object.values(times).map((all) => all.sort((a, b) => a - b)[3] ?? 0);
    // Each step of a cost is twice the work: 32 times from 4 to 9.
    expect(Math.max(...medians)).to.be.lessThan(1.5 * Math.min(...medians));
    for (const name of Object.keys(costs))
      expect(await ask(name, 'secret')).to.equal(`user ${name}`);
  });

  it('rejects a user whose hash bcrypt refuses, without affecting other users', async () => {
    const rest = hashSync('secret', 4).slice(7);
    writeFileSync(
      file,
      `none:$2b$00$${rest}\nmuch:$2b$99$${rest}\n${htpasswdLine('alice', 'one')}\n`,
    );
    for (const name of ['none', 'much', 'nobody']) {
      expect(await ask(name, 'secret')).to.equal(`refused ${name}`);
    }
    expect(await ask('alice', 'one')).to.equal('user alice');
    expect(read).to.deep.equal([{ ignored: ['none', 'much'], first: true }]);
  });

  it('detects a changed file within a second, whether renamed over or written in place', async () => {
    writeHtpasswd(file, { alice: 'one', bob: 'two' });
    expect([await ask('alice', 'one'), await ask('bob', 'two')]).to.deep.equal([
      'user alice',
      'user bob',
    ]);
    writeHtpasswd(file, { bob: 'two', carol: 'three' });
    later(1000);
    // A password that was remembered is forgotten with its file.
    expect(await ask('alice', 'one')).to.equal('refused alice');
    expect(await ask('carol', 'three')).to.equal('user carol');
    writeFileSync(file, `${htpasswdLine('bob', 'new')}\n`);
    later(1000);
    expect(await ask('bob', 'two')).to.equal('refused bob');
    expect(await ask('bob', 'new')).to.equal('user bob');
    expect(read.map(({ first }) => first)).to.deep.equal([true, false, false]);
  });

  it('checks the file at once when told to, otherwise once a second', async () => {
    writeHtpasswd(file, { alice: 'one' });
    await ask('alice', 'one');
    writeHtpasswd(file, { bob: 'two' });
    later(999);
    expect(await ask('alice', 'one')).to.equal('user alice');
    await gate.refresh({ now: true });
    expect(await ask('alice', 'one')).to.equal('refused alice');
  });

  it('keeps the known users when the file cannot be read, and reports it once', async () => {
    writeHtpasswd(file, { alice: 'one' });
    await gate.refresh();
    rmSync(file);
    for (let n = 0; n < 3; n++) {
      later(1000);
      expect(await ask('alice', 'one')).to.equal('user alice');
    }
    mkdirSync(file);
    later(1000);
    expect(await ask('alice', 'one')).to.equal('user alice');
    expect(read.map(({ error }) => (error as NodeJS.ErrnoException)?.code)).to.deep.equal([
      undefined,
      'ENOENT',
      'EISDIR',
    ]);
    rmSync(file, { recursive: true });
    writeHtpasswd(file, { bob: 'two' });
    later(1000);
    expect([await ask('alice', 'one'), await ask('bob', 'two')]).to.deep.equal([
      'refused alice',
      'user bob',
    ]);
  });

  it('rejects every user while the file has never existed', async () => {
    expect(await ask('alice', 'one')).to.equal('refused alice');
    expect(read).to.have.length(1);
    expect(read[0]).to.include({ first: true });
    expect(read[0]?.error).to.include({ code: 'ENOENT' });
  });

  it('does not cache a password whose user was removed during the comparison', async () => {
    writeHtpasswd(file, { alice: 'one' });
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    gate = open(async (request) => {
      if (checked.length === 1) await held;
      return compare(request);
    });
    await gate.refresh();
    const first = ask('alice', 'one');
    writeHtpasswd(file, { bob: 'two' });
    await gate.refresh({ now: true });
    release();
    await first;
    expect(await ask('alice', 'one')).to.equal('refused alice');
  });

  it('checks at most 64 passwords at a time; cached and anonymous requests do not wait', async () => {
    writeHtpasswd(file, { alice: 'one' });
    await ask('alice', 'one');
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    gate = open(async (request) => {
      if (request.password.startsWith('guess')) await held;
      return compare(request);
    });
    await ask('alice', 'one');
    const guesses = Array.from({ length: 70 }, (_none, n) => ask('alice', `guess ${n}`));
    expect(await Promise.all(guesses.slice(64))).to.deep.equal(Array(6).fill('busy'));
    expect(await ask('bob', 'x')).to.equal('busy');
    expect(await ask('alice', 'one')).to.equal('user alice');
    expect(await ask('', '')).to.equal('anonymous');
    release();
    expect(new Set(await Promise.all(guesses.slice(0, 64)))).to.deep.equal(
      new Set(['refused alice']),
    );
    expect(await ask('bob', 'x')).to.equal('refused bob');
  });
});
