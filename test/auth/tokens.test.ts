/** Tokens and their keys: creating and sharing the key file, accepted and expired tokens. */
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { SignJWT } from 'jose';
import { Gate } from '#src/auth/gate.js';
import { KeyRing, type KeySource } from '#src/auth/key-ring.js';
import { makeTokenKey } from '#src/auth/make-token-key.js';
import { parseScopes } from '#src/auth/scope.js';
import { parseTokenKeys, randomKey } from '#src/auth/token-keys.js';
import { Tokens } from '#src/auth/tokens.js';
import { nodeDisk } from '#src/storage/disk.js';
import type { RunJob } from '#src/storage/job.js';
import { writeHtpasswd } from '../support/passwords.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const DAY_MS = 24 * 3600 * 1000;
const ACCESS = parseScopes(['repository:team/app:pull']);

describe('tokens', () => {
  let root: string;
  let file: string;
  let passwords: string;
  let clockMs: number;
  let told: string[];
  let lifetimeSeconds: number;

  beforeEach(() => {
    root = tempDir();
    file = join(root, 'state', 'tokens', 'keys');
    passwords = join(root, 'htpasswd');
    mkdirSync(join(root, 'state'));
    writeHtpasswd(passwords, { alice: 'secret', bob: 'other' });
    clockMs = Date.now();
    told = [];
    lifetimeSeconds = 900;
  });
  after(removeTempDirs);

  const toText = (source: KeySource) =>
    source.from === 'file' ? `file ${source.ignored}`.trim() : source.from;
  const later = (ms: number) => {
    clockMs += ms;
  };
  /** Each is an endpoint of its own, over the same files. Time passes for all of them at once. */
  function open({ makes = true, path = file } = {}): Tokens {
    const nowMs = () => clockMs;
    const run: RunJob = async (job, request) => (await job(nodeDisk, request)) as never;
    const gate = new Gate({ htpasswd: passwords, run: run as never, nowMs, onRead: () => {} });
    const keys = new KeyRing({
      path,
      makes,
      run: run as never,
      nowMs,
      clockMs: () => clockMs,
      onChange: (source) => void told.push(toText(source)),
    });
    const lifetimeMs = () => lifetimeSeconds * 1000;
    return new Tokens({ gate, keys, lifetimeMs, clockMs: () => clockMs });
  }
  async function issue(tokens: Tokens, name?: string): Promise<string> {
    const hash = name && (await tokens.options.gate.hashOf(name));
    return tokens.issue(name && hash ? { kind: 'user', name, hash } : undefined, ACCESS);
  }
  const who = async (tokens: Tokens, token: string) => {
    const holder = await tokens.identify(token);
    if (holder === undefined) return 'refused';
    return holder.caller.kind === 'user' ? holder.caller.name : 'anonymous';
  };
  const claims = (token: string) =>
    token
      .split('.')
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')));
  const kidOf = (token: string) => claims(token)[0].kid;

  it('contain what the specification requires, and nothing of the password', async () => {
    const token = await issue(open(), 'alice');
    const [header, payload] = claims(token);
    const { kid, ...rest } = header;
    expect(rest).to.deep.equal({ alg: 'HS256', typ: 'JWT' });
    expect(kid).to.be.a('string');
    const now = Math.floor(clockMs / 1000);
    expect(payload).to.include({ iss: 'dropdock', aud: 'dropdock', sub: 'alice' });
    expect(payload).to.include({ iat: now, nbf: now, exp: now + lifetimeSeconds });
    expect(payload.access).to.deep.equal([
      { type: 'repository', name: 'team/app', actions: ['pull'] },
    ]);
    expect(payload.mark).to.match(/^[\w-]{22}$/);
    const nobodys = claims(await issue(open()))[1];
    expect(nobodys.sub).to.equal('');
    expect(nobodys).to.not.have.property('mark');
  });

  it('are accepted by every endpoint that shares the key file, whichever issued them', async () => {
    const [one, other, reader] = [open(), open(), open({ makes: false })];
    const tokens = await Promise.all([issue(one, 'alice'), issue(other, 'bob'), issue(one)]);
    for (const each of [one, other, reader]) {
      const names = await Promise.all(tokens.map((token) => who(each, token)));
      expect(names).to.deep.equal(['alice', 'bob', 'anonymous']);
    }
    expect(await who(one, await issue(reader, 'alice'))).to.equal('alice');
  });

  it('have a key file that other users cannot read, whatever the umask', async () => {
    const umask = process.umask(0);
    try {
      await issue(open());
    } finally {
      process.umask(umask);
    }
    const modeOf = (path: string) => statSync(path).mode & 0o777;
    expect([modeOf(file), modeOf(join(file, '..'))]).to.deep.equal([0o600, 0o700]);
    expect(readdirSync(join(file, '..'))).to.deep.equal(['keys']);
  });

  it('become invalid when the password changes or the user is removed', async () => {
    const tokens = open();
    const [alices, bobs] = [await issue(tokens, 'alice'), await issue(tokens, 'bob')];
    writeHtpasswd(passwords, { alice: 'changed', bob: 'other' });
    later(1000);
    expect(await who(tokens, alices)).to.equal('refused');
    writeHtpasswd(passwords, { alice: 'changed' });
    later(1000);
    expect(await who(tokens, bobs)).to.equal('refused');
    // Nor does the old password come back to life by its token: each line has its own salt.
    writeHtpasswd(passwords, { alice: 'secret', bob: 'other' });
    later(1000);
    expect(await who(tokens, alices)).to.equal('refused');
    expect(await who(tokens, await issue(tokens, 'alice'))).to.equal('alice');
  });

  it('expire with one minute of clock tolerance, and are invalid before they were issued', async () => {
    const tokens = open();
    const token = await issue(tokens);
    for (const [ms, expected] of [
      [lifetimeSeconds * 1000 + 59_000, 'anonymous'],
      [2000, 'refused'],
      // The clock was set back: to a little before, and to long before.
      [-(lifetimeSeconds + 61 + 50) * 1000, 'anonymous'],
      [-20_000, 'refused'],
    ] as const) {
      later(ms);
      expect(await who(tokens, token), `${clockMs}`).to.equal(expected);
    }
  });

  it('expire sooner when the setting is lowered, including tokens already issued', async () => {
    const tokens = open();
    const token = await issue(tokens);
    later(300_000);
    expect(await who(tokens, token)).to.equal('anonymous');
    lifetimeSeconds = 60;
    expect(await who(tokens, token)).to.equal('refused');
    expect(claims(await issue(tokens))[1]).to.include({ exp: Math.floor(clockMs / 1000) + 60 });
  });

  it('are rejected when forged or modified', async () => {
    const tokens = open();
    const good = await issue(tokens, 'alice');
    const [head = '', body = '', signature = ''] = good.split('.');
    const swap = (change: object, part = body) =>
      Buffer.from(
        JSON.stringify({ ...JSON.parse(Buffer.from(part, 'base64url').toString()), ...change }),
      ).toString('base64url');
    const key = parseTokenKeys(readFileSync(file, 'utf8')).keys[0];
    if (key === undefined) throw new Error('no key');
    const own = (payload: object, { secret = key.secret, kid = key.id, alg = 'HS256' } = {}) =>
      new SignJWT({ ...JSON.parse(Buffer.from(body, 'base64url').toString()), ...payload })
        .setProtectedHeader({ alg, kid })
        .sign(secret);
    expect(await who(tokens, await own({}))).to.equal('alice');
    for (const token of [
      'x',
      'a.b.c',
      `${head}.${swap({ sub: 'bob' })}.${signature}`,
      `${swap({ alg: 'none' }, head)}.${body}.`,
      `${swap({ kid: 'other' }, head)}.${body}.${signature}`,
      good.slice(0, -2),
      await own({}, { secret: randomKey().secret }),
      await own({}, { alg: 'HS512', secret: Buffer.concat([key.secret, key.secret]) }),
      await own({ iss: 'other' }),
      await own({ aud: 'other' }),
      await own({ exp: undefined }),
      await own({ sub: undefined }),
      await own({ sub: 'bob' }),
      await own({ mark: undefined }),
      await own({ access: 'all' }),
      await own({ access: [null] }),
    ]) {
      expect(await who(tokens, token), token).to.equal('refused');
    }
  });

  it('are signed with a new key after a month, once all processes know it; old tokens stay valid', async () => {
    const [one, other] = [open(), open()];
    const first = kidOf(await issue(one));
    later(30 * DAY_MS - 1000);
    expect(kidOf(await issue(one))).to.equal(first);
    later(1000);
    const before = await issue(one);
    expect(kidOf(before)).to.equal(first);
    expect(readFileSync(file, 'utf8').trim().split('\n')).to.have.length(2);
    expect(await who(other, before)).to.equal('anonymous');
    later(60_000);
    const after = await issue(one);
    expect(kidOf(after)).to.not.equal(first);
    for (const tokens of [one, other]) {
      expect(await who(tokens, after)).to.equal('anonymous');
      expect(await who(tokens, before)).to.equal('anonymous');
    }
    // The one before the last goes with the next.
    later(30 * DAY_MS);
    await issue(other);
    const { keys } = parseTokenKeys(readFileSync(file, 'utf8'));
    expect(keys.map(({ id }) => id))
      .to.have.length(2)
      .and.not.include(first);
  });

  it('have one key when several processes create or replace the file at the same time', async () => {
    for (let round = 0; round < 20; round++) {
      rmSync(join(file, '..'), { recursive: true, force: true });
      const all = [open(), open(), open()];
      const tokens = await Promise.all(all.map((each) => issue(each, 'alice')));
      later(30 * DAY_MS);
      await Promise.all(all.map((each) => issue(each)));
      later(30_000 + 30 * (round % 2) * 1000);
      const late = await Promise.all(all.map((each) => issue(each, 'bob')));
      expect(new Set(tokens.map(kidOf)).size).to.equal(1);
      for (const each of all) {
        const names = await Promise.all(late.map((token) => who(each, token)));
        expect(names).to.deep.equal(['bob', 'bob', 'bob']);
      }
    }
  });

  it('use the key of the process that created the file first, even a moment ago', async () => {
    const theirs = `${'t'.repeat(43)}\n`;
    const disk = {
      ...nodeDisk,
      link: (from: string, to: string) => {
        writeFileSync(to, theirs);
        nodeDisk.link(from, to);
      },
    };
    makeTokenKey(disk, { path: file, nowMs: clockMs });
    expect(readFileSync(file, 'utf8')).to.equal(theirs);
    expect(readdirSync(join(file, '..'))).to.deep.equal(['keys']);
  });

  it('all become invalid when the key file is deleted', async () => {
    const tokens = open();
    const token = await issue(tokens, 'alice');
    rmSync(file);
    later(1000);
    expect(await who(tokens, token)).to.equal('refused');
    expect(await who(tokens, await issue(tokens, 'alice'))).to.equal('alice');
    expect(told).to.deep.equal(['file', 'file']);
  });

  it('stay valid in a process that cannot read the key file, even when the file appears later', async () => {
    const alone = open({ makes: false });
    const own = await issue(alone, 'alice');
    expect(await who(alone, own)).to.equal('alice');
    expect(told).to.deep.equal(['memory']);
    const daemon = open();
    const shared = await issue(daemon, 'bob');
    expect(await who(daemon, own)).to.equal('refused');
    later(1000);
    expect(await who(alone, shared)).to.equal('bob');
    expect(await who(alone, own)).to.equal('alice');
    expect(kidOf(await issue(alone))).to.equal(kidOf(shared));
    expect(readdirSync(join(file, '..'))).to.deep.equal(['keys']);
  });

  it('keep working when the key file cannot be created or read', async () => {
    writeFileSync(join(root, 'state', 'tokens'), 'in the way');
    const tokens = open();
    expect(await who(tokens, await issue(tokens, 'alice'))).to.equal('alice');
    expect(told).to.deep.equal(['memory']);
    rmSync(join(root, 'state', 'tokens'));
    later(1000);
    const token = await issue(tokens, 'alice');
    expect(told).to.deep.equal(['memory', 'file']);
    // One that holds none is not taken for one: what held before holds.
    renameSync(file, `${file}-aside`);
    writeFileSync(file, 'short\n');
    later(1000);
    expect(await who(tokens, token)).to.equal('alice');
    expect(told).to.deep.equal(['memory', 'file', 'before']);
    expect(readFileSync(file, 'utf8')).to.equal('short\n');
    renameSync(`${file}-aside`, file);
    later(1000);
    expect(await who(tokens, token)).to.equal('alice');
    expect(told.at(-1)).to.equal('file');
  });

  it('use a key file written by an operator: the first key signs, all verify, the file is not written', async () => {
    const path = join(root, 'token.key');
    const [one, two] = ['one-'.repeat(10), 'two-'.repeat(10)];
    writeFileSync(path, `# ours\n${one}\n`);
    const tokens = open({ makes: false, path });
    const first = await issue(tokens, 'alice');
    for (const [text, kid, accepted] of [
      [`${one}\r\n${two}\r\n`, kidOf(first), 'alice'],
      [`${two}\nshort\n\n${one}`, undefined, 'alice'],
      [two, undefined, 'refused'],
    ] as const) {
      writeFileSync(path, text);
      later(100 * DAY_MS);
      later(-100 * DAY_MS + 1000);
      const now = kidOf(await issue(tokens, 'alice'));
      if (kid) expect(now).to.equal(kid);
      else expect(now).to.not.equal(kidOf(first));
      expect(await who(tokens, first)).to.equal(accepted);
      expect(readFileSync(path, 'utf8')).to.equal(text);
    }
    expect(told).to.deep.equal(['file', 'file', 'file 2', 'file']);
  });

  it('leave no files of a process that died while creating a key', async () => {
    mkdirSync(join(file, '..'), { mode: 0o700 });
    const [old, young] = ['0123456789abcdef', 'fedcba9876543210'].map((rest) => `${file}.${rest}`);
    for (const path of [old, young]) writeFileSync(path ?? '', 'half');
    const hours = clockMs / 1000 - 2 * 3600;
    utimesSync(old ?? '', hours, hours);
    await issue(open());
    // The young one may be of a process that is at it.
    expect(readdirSync(join(file, '..')).sort()).to.deep.equal(['keys', 'keys.fedcba9876543210']);
  });
});
