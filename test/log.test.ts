import { spawnSync } from 'node:child_process';
import { Writable } from 'node:stream';
import { expect } from 'chai';
import { formatFields, type LogFields, type LogSettings, type LogSink, openLog } from '#src/log.js';

const LOG = new URL('../dist/log.js', import.meta.url).href;

/** What a process writes that logs these and ends. */
function logged(settings: LogSettings & LogSink, ...fields: LogFields[]): string[] {
  const script = `
    import { openLog } from ${JSON.stringify(LOG)};
    const { log, close } = openLog(${JSON.stringify(settings)}, ${JSON.stringify(settings)});
    for (const level of ['error', 'warn', 'info', 'debug']) log(level, 'drop.seen');
    for (const fields of ${JSON.stringify(fields)}) log('info', 'publish.done', fields);
    await close();
  `;
  const given = ['--input-type=module', '--eval', script];
  const { stdout, stderr } = spawnSync(process.execPath, given, { encoding: 'utf8' });
  expect(stderr).to.equal('');
  return stdout.trimEnd().split('\n');
}

describe('the log', () => {
  it('writes one readable line per event to stdout', () => {
    const fields = { repo: 'team/app', drop: 'a b', tags: 2, snapshot: null };
    const lines = logged({ level: 'debug', format: 'text' }, fields);
    expect(lines).to.have.length(5);
    expect(lines[0]).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z error drop\.seen$/);
    expect(lines[2]).to.match(/Z info {2}drop\.seen$/);
    expect(lines[4]).to.match(/ info {2}publish\.done repo=team\/app drop="a b" tags=2$/);
  });

  it('writes JSON lines with the same content', () => {
    const lines = logged({ level: 'info', format: 'json' }, { repo: 'app', tags: 2, ok: true });
    const { time, ...rest } = JSON.parse(lines.at(-1) ?? '');
    expect(new Date(time).toISOString()).to.equal(time);
    expect(rest).to.deep.equal({
      level: 'info',
      event: 'publish.done',
      repo: 'app',
      tags: 2,
      ok: true,
    });
  });

  for (const format of ['text', 'json'] as const) {
    it(`starts each journal line with its priority, as ${format}`, () => {
      const lines = logged({ level: 'debug', format, isJournal: true }, { drop: 'a\n<0>b' });
      expect(lines.map((line) => line.slice(0, 3))).to.deep.equal([
        '<3>',
        '<4>',
        '<6>',
        '<7>',
        '<6>',
      ]);
      if (format === 'text') {
        expect(lines[1]).to.equal('<4>warn  drop.seen');
        expect(lines[4]).to.equal('<6>info  publish.done drop="a\\n<0>b"');
      } else expect(JSON.parse(lines[1]?.slice(3) ?? '')).to.include({ level: 'warn' });
    });
  }

  it('uses another level and format after a change', () => {
    let text = '';
    const stream = new Writable({
      write: (line, _encoding, done) => {
        text += line;
        done();
      },
    });
    const { log, configure } = openLog({ level: 'warn', format: 'text' }, { stream });
    log('info', 'drop.seen');
    configure({ level: 'info', format: 'json' });
    log('info', 'drop.claimed', { drop: 'a' });
    log('debug', 'drop.seen');
    const { time, ...rest } = JSON.parse(text);
    expect(rest).to.deep.equal({ level: 'info', event: 'drop.claimed', drop: 'a' });
    expect(time).to.be.a('string');
  });

  it('drops lines written after it was closed', async () => {
    const { log, close } = openLog({ level: 'info', format: 'text' });
    await close();
    log('error', 'daemon.failed');
    await close();
  });

  it('omits lines below its level', () => {
    const levels = logged({ level: 'warn', format: 'text' }).map((line) => line.split(/ +/)[1]);
    expect(levels).to.deep.equal(['error', 'warn']);
  });
});

describe('formatFields', () => {
  const cases: readonly [LogFields, string][] = [
    [{ a: 'plain', b: 1, c: false }, 'a=plain b=1 c=false'],
    [{ a: undefined, b: null, c: '' }, 'c=""'],
    [{ a: 'two words' }, 'a="two words"'],
    [{ a: 'say "x"' }, 'a="say \\"x\\""'],
    [{ a: 'x=y' }, 'a="x=y"'],
    [{ a: 'one\nlevel=error event=forged' }, 'a="one\\nlevel=error event=forged"'],
    [{ a: '\u001b[31mred' }, 'a="\\u001b[31mred"'],
    [{ a: 'back\\slash' }, 'a="back\\\\slash"'],
    [{ a: 'ünïcode/path:1.0@x' }, 'a=ünïcode/path:1.0@x'],
  ];
  for (const [fields, text] of cases) {
    it(`writes ${JSON.stringify(fields)} as ${text}`, () => {
      expect(formatFields(fields)).to.equal(text);
    });
  }
});
