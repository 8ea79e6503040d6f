/** The commands on object stores: publish, status, history, edits, verify, clean, copy. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { CommandContext, ExitCode } from '#src/cli/command-context.js';
import { defineCommands } from '#src/cli/commands.js';
import type { DropdockError } from '#src/errors.js';
import type { Log } from '#src/log.js';
import { loadSettings } from '#src/settings/settings.js';
import { dropdock } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { credentialsFile } from '../support/object-stores.js';
import { readRepository } from '../support/outside-reader.js';
import { S3Double } from '../support/s3-double.js';
import { checkStore, readStore } from '../support/store-publisher.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const log: Log = () => {};
const SILENT = { isTerminal: false, write: () => {} };

/** What main makes of a command line. */
const COMMANDS = collectCommands();

type Run = (
  context: CommandContext,
  given: readonly string[],
  options: object,
) => Promise<ExitCode>;

function collectCommands(): Record<string, Run> {
  const commands: Record<string, Run> = {};
  const again = { readSettings: () => expect.fail(), reopenLog: () => {} };
  const surroundings = {
    thisProcess: () => expect.fail(),
    input: process.stdin,
    output: { isTerminal: false, isGone: () => false },
    progress: SILENT,
  };
  defineCommands((spec, _description, run) => {
    const [name = '', ...names] = spec.split(' ');
    commands[name] = async (context, given, options) => {
      // The last argument may be a list.
      const isList = names.at(-1)?.includes('...') === true;
      const split = isList ? names.length - 1 : given.length;
      const all = isList ? [...given.slice(0, split), given.slice(split)] : given;
      return run(context, log, all, { ...options }, again);
    };
    const chain = { option: () => chain };
    return chain;
  }, surroundings);
  return commands;
}

describe('commands on object stores', function () {
  this.timeout(60_000);
  let eu: S3Double;
  let us: S3Double;
  let root: string;
  let config: string;
  beforeEach(async () => {
    [eu, us] = await Promise.all([S3Double.start(), S3Double.start({ kind: 'radosgw' })]);
    root = tempDir();
    mkdirSync(join(root, 'inbox'));
    config = join(root, 'dropdock.yaml');
    const target = (double: S3Double) => `{type: s3, endpoint: "${double.endpoint}", bucket: images,
    prefix: some/where, pathStyle: true, credentialsFile: ${credentialsFile('me', 'hush')}}`;
    writeFileSync(
      config,
      `threads: {hash: 1}\ntargets:\n  eu: ${target(eu)}\n  us: ${target(us)}
repositories:\n  team/app: {targets: [local, eu]}\n  team/far: {targets: [eu]}\n`,
    );
  });
  afterEach(async () => {
    await Promise.all([eu.stop(), us.stop()]);
    removeTempDirs();
  });

  /** In this process: each of its own would take longer than all that is tried here. */
  const run = async (name: string, given: readonly string[], options: object = {}) => {
    let stdout = '';
    const print = (text: string) => {
      stdout += text;
    };
    const file = { name: config, text: readFileSync(config, 'utf8') };
    const flags = ['inbox', 'published', 'state'].map((part) => ({
      path: ['paths', part],
      value: join(root, part),
      flag: 'test',
    }));
    const loaded = loadSettings({ file, environment: {}, flags });
    const commandLine = (...words: readonly (string | undefined)[]) => words.join(' ');
    const context = { ...loaded, json: true, print, commandLine };
    const code = await (COMMANDS[name] as Run)(context, given, options).catch(
      (error: DropdockError) => {
        expect(error.message, 'no secret').not.to.include('hush');
        return `${error.code}: ${error.message}`;
      },
    );
    expect(stdout, 'no secret').not.to.include('hush');
    // Changes answer once for each target; the last one counts here.
    const last = stdout.split(/(?<=^[}\]]\n)/m).findLast((text) => text !== '') ?? 'null';
    return { code, json: JSON.parse(last) };
  };
  const publish = async (tag: string, as = 'team/app') => {
    const path = join(root, 'made', tag);
    makeLayout(path, { layers: [tag], tag });
    const done = await run('publish', [path], { as: `${as}:${tag}` });
    expect(done.code).to.equal(0);
    return done.json;
  };
  const here = () => Object.keys(readRepository(join(root, 'published'), 'team~app')?.tags ?? {});

  it('publish, inspect, roll back, untag and remove on the given target', async () => {
    const { targets } = await publish('1');
    expect(targets.eu).to.include({ status: 'published' });
    await publish('2');
    expect([here(), checkStore(eu)]).to.deep.equal([
      ['1', '2'],
      ['1', '2'],
    ]);
    const { json: status } = await run('status', [], { target: 'eu' });
    expect(status.repositories[0]).to.include({ repository: 'team/app', tags: 2, generation: 2 });
    const back = await run('rollback', ['team/app'], { target: 'eu' });
    expect(back.json).to.include({ status: 'published', target: 'eu' });
    expect([here(), checkStore(eu)]).to.deep.equal([['1', '2'], ['1']]);
    const { json: history } = await run('history', ['team/app'], { target: 'eu' });
    const why = history.map((each: { why: string }) => each.why);
    expect(why, 'newest first').to.deep.equal(['rollback', 'publish', 'publish']);
    const named = await run('rollback', ['team/app', history[1].snapshot]);
    expect(named.code).to.include('add --target local or eu');
    await run('rollback', ['team/app', history[1].snapshot], { target: 'eu' });
    expect(checkStore(eu)).to.deep.equal(['1', '2']);
    // One answer for each target.
    expect((await run('untag', ['team/app', '2'])).json).to.include({ target: 'eu' });
    expect([here(), checkStore(eu)]).to.deep.equal([['1'], ['1']]);
    const both = await run('untag', ['team/app', '2'], { target: 'eu' });
    expect(both.code).to.equal('tag.unknown: team/app has no tag 2.');
    await run('remove', ['team/app'], { target: 'eu' });
    expect(readStore(eu)?.pointer).to.include({ removed: true, tags: 0 });
    expect(here()).to.deep.equal(['1']);
    expect((await run('status', [], { target: 'nowhere' })).code).to.include('local, eu, us');
  });

  it('verify finds lost content, and copy restores it', async () => {
    await publish('1');
    const verified = { target: 'eu', files: 4, findings: [], problems: [] };
    expect((await run('verify', [], { target: 'eu' })).json).to.deep.equal(verified);
    const key = [...eu.objects.keys()].find((each) => each.includes('/blobs/')) ?? '';
    eu.objects.delete(key);
    const { code, json } = await run('verify', ['team/app'], { target: 'eu' });
    expect(code).to.equal(3);
    expect(json.findings).to.have.length(1);
    expect(json.findings[0].problem).to.equal('missing');
    expect(json.problems[0].neededBy).to.deep.equal([{ repository: 'team/app', tags: ['1'] }]);
    const copied = await run('copy', ['team/app'], { from: 'local', to: 'eu' });
    expect(copied.json.repositories[0]).to.include({ id: 'team~app', status: 'unchanged' });
    expect((await run('verify', [], { target: 'eu' })).json).to.deep.equal(verified);
  });

  it('copy fills one target from another, in every direction', async () => {
    await publish('1');
    await publish('2');
    await publish('x', 'team/far');
    expect((await run('copy', [], { from: 'eu', to: 'us' })).code).to.equal(0);
    expect(checkStore(us)).to.deep.equal(['1', '2']);
    expect(checkStore(us, 'team~far')).to.deep.equal(['x']);
    const again = await run('copy', [], { from: 'eu', to: 'us' });
    const statuses = again.json.repositories.map(({ status }: { status: string }) => status);
    expect(statuses).to.deep.equal(['unchanged', 'unchanged']);
    // To a directory that has nothing, on a machine that has nothing.
    root = tempDir();
    expect((await run('copy', ['team/app'], { from: 'us', to: 'local' })).code).to.equal(0);
    expect(here()).to.deep.equal(['1', '2']);
    expect((await run('verify', [])).json.findings).to.deep.equal([]);
  });

  it('copy resumes after an interruption, and overwrites diverged repositories', async () => {
    await publish('1');
    await publish('2');
    let puts = 0;
    us.trouble = ({ method, key }) =>
      method === 'PUT' && key.includes('blobs/') && ++puts > 2 ? 403 : undefined;
    expect((await run('copy', [], { from: 'eu', to: 'us' })).code).to.include('answered 403');
    expect(readStore(us)).to.equal(undefined);
    us.trouble = undefined;
    us.count();
    expect((await run('copy', [], { from: 'eu', to: 'us' })).code).to.equal(0);
    const sent = us.requests.filter(
      ({ method, key, status }) => method === 'PUT' && key.includes('blobs/') && status === 200,
    );
    expect(sent).to.have.length(2);
    await run('untag', ['team/app', '1'], { target: 'us' });
    await run('copy', ['team/app'], { from: 'eu', to: 'us' });
    expect(checkStore(us)).to.deep.equal(['1', '2']);
  });

  it('clean lists what it would remove from each target', async () => {
    await publish('1');
    const { json } = await run('clean', [], { dryRun: true, target: 'eu' });
    expect(json.targets.eu).to.include({ files: 0, bytes: 0 });
    expect(json.targets.eu.repositories[0].snapshots[0]).to.include({ rule: 'current' });
    expect((await run('clean', [])).json.targets).to.have.keys('eu', 'us');
  });

  it('reveal no secret, and accept --target on the command line', async () => {
    await publish('1');
    const shown = await dropdock('config', '--root', root, '--config', config);
    expect(shown.stdout).to.include('targets eu: ').and.not.to.include('hush');
    const given = ['--target', 'eu', '--root', root, '--config', config];
    const { code, stdout } = await dropdock('status', 'team/app', ...given);
    expect(code).to.equal(0);
    expect(stdout).to.match(/team\/app +1 /);
  });
});
