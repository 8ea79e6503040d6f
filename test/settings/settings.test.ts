import { expect } from 'chai';
import { settingPaths } from '#src/settings/schema.js';
import { environmentName, loadSettings } from '#src/settings/settings.js';
import { refusal } from '../support/refusal.js';

const load = (
  text?: string,
  environment: Record<string, string> = {},
  flags: Parameters<typeof loadSettings>[0]['flags'] = [],
) =>
  loadSettings({
    file: text === undefined ? undefined : { name: 's.yaml', text },
    environment,
    flags,
  });
const keepFlag = (value: unknown) => [{ path: ['retention', 'keep'], value, flag: '--keep' }];

describe('loadSettings', () => {
  it('has a default for every setting', () => {
    const { settings, origins } = load();
    for (const path of settingPaths()) {
      let value: unknown = settings;
      for (const key of path) value = (value as Record<string, unknown>)[key];
      expect(value, path.join('.')).not.to.equal(undefined);
      expect(origins.get(path.join('.'))).to.equal('default');
    }
    expect(settings.settle).to.deep.equal({ quiet: 1000, timeout: 600_000, marker: null });
    expect(settings.retention).to.include({ keep: 3, grace: 3_600_000 });
    expect(settings.redirect.oci).to.equal('convert');
    expect(settings.repositories).to.deep.equal({});
  });

  it('prefers flags over the environment over the file over defaults', () => {
    const file = 'retention:\n  keep: 4\n';
    const variable = { DROPDOCK_RETENTION_KEEP: '5' };
    const keeps = [load(), load(file), load(file, variable), load(file, variable, keepFlag(6))];
    expect(keeps.map(({ settings }) => settings.retention.keep)).to.deep.equal([3, 4, 5, 6]);
    expect(keeps.map(({ origins }) => origins.get('retention.keep'))).to.deep.equal([
      'default',
      's.yaml:2',
      'DROPDOCK_RETENTION_KEEP',
      '--keep',
    ]);
  });

  it('reads one setting of a section from the environment and the others from the file', () => {
    const { settings } = load('settle: {quiet: 2s}\n', { DROPDOCK_SETTLE_TIMEOUT: '3s' });
    expect(settings.settle).to.include({ quiet: 2000, timeout: 3000 });
  });

  it('accepts an empty file, and ignores unrelated variables', () => {
    expect(load('', { HOME: '/root' }).settings.retention.keep).to.equal(3);
    expect(load('# nothing but comments\n').settings.retention.keep).to.equal(3);
  });

  it('reads every setting from its environment variable', () => {
    const texts: Record<string, string> = {
      DROPDOCK_INBOX_WATCH: 'false',
      DROPDOCK_INGEST: 'copy',
      DROPDOCK_LOG_FORMAT: 'json',
      DROPDOCK_PATHS_INBOX: '/srv/inbox',
      DROPDOCK_SETTLE_MARKER: '.done',
      DROPDOCK_THREADS_HASH: '4',
      DROPDOCK_LOCK_WAIT: '250ms',
    };
    const { settings } = load(undefined, texts);
    expect(settings.inbox.watch).to.equal(false);
    expect(settings.ingest).to.equal('copy');
    expect(settings.log.format).to.equal('json');
    expect(settings.paths.inbox).to.equal('/srv/inbox');
    expect(settings.settle.marker).to.equal('.done');
    expect(settings.threads.hash).to.equal(4);
    expect(settings.lock.wait).to.equal(250);
  });

  it('names variables after setting paths, without collisions', () => {
    expect(environmentName(['registry', 'listen'])).to.equal('DROPDOCK_REGISTRY_LISTEN');
    const names = settingPaths().map(environmentName);
    expect(new Set(names).size).to.equal(names.length);
  });

  it('applies to repositories with any name', () => {
    const names = ['prototype', 'constructor', 'tostring'];
    const text = names.map((name) => `  ${name}: {protected: true}\n`).join('');
    const { settings } = load(`repositories:\n${text}`);
    expect(Object.keys(settings.repositories)).to.deep.equal(names);
    expect(names.every((name) => settings.repositories[name]?.protected)).to.equal(true);
    expect(refusal(() => load('repositories: {prototype: {modus: x}}\n')).message).to.match(
      /repositories\.prototype\.modus: unknown setting/,
    );
  });

  describe('rejects, with the location', () => {
    const cases: readonly [string, string, RegExp][] = [
      [
        'an unknown section',
        'log: {level: info}\n\nextra: 1\n',
        /^s\.yaml:3: extra: unknown setting/,
      ],
      [
        'an unknown setting',
        'settle:\n  quiet: 1s\n  quite: 2s\n',
        /^s\.yaml:3: settle\.quite: unknown setting/,
      ],
      ['a wrong value', 'log:\n  format: text\n  level: loud\n', /^s\.yaml:3: log\.level: /],
      ['a wrong duration', '\nsettle:\n  quiet: soon\n', /^s\.yaml:3: settle\.quiet: .*duration/],
      ['an invalid section', 'ingest: auto\nsettle: quick\n', /^s\.yaml:2: settle: /],
      [
        'a list for a section',
        'ingest: auto\nsettle: []\n',
        /^s\.yaml:2: settle: expected an object/,
      ],
      [
        'a list for a repository',
        'repositories:\n  team/*: []\n',
        /^s\.yaml:2: repositories\.team\/\*: expected an object/,
      ],
      [
        'a list for repositories',
        'repositories: [a]\n',
        /^s\.yaml:1: repositories: expected an object/,
      ],
      ['an invalid number', 'retention: {keep: many}\n', /^s\.yaml:1: retention\.keep: /],
      [
        'a store without its bucket',
        'targets: {eu: {type: s3}}\n',
        /^s\.yaml:1: targets\.eu\.bucket: is missing/,
      ],
      ['too few snapshots', 'retention:\n  keep: 0\n', /^s\.yaml:2: retention\.keep: /],
      ['a setting given twice', 'retention:\n  keep: 1\n  keep: 2\n', /^s\.yaml:3: .*unique/],
      ['invalid YAML', 'log: {level: info\n', /^s\.yaml:\d: /],
      ['a list', '- a\n- b\n', /^s\.yaml:1: expected a map of settings/],
      [
        'an unknown setting of a repository',
        'repositories:\n  team/*:\n    mode: merge\n    modus: x\n',
        /^s\.yaml:4: repositories\.team\/\*\.modus: unknown setting/,
      ],
      [
        'a wrong setting of a repository',
        'repositories:\n  team/*:\n    mode: add\n',
        /^s\.yaml:3: repositories\.team\/\*\.mode: /,
      ],
      [
        'an invalid target',
        'registry:\n  target: eu\n',
        /^s\.yaml:2: registry\.target: unknown target "eu"; known targets: local/,
      ],
      [
        'a redirect of the directory without a URL',
        'registry:\n  blobs: redirect\n',
        /^s\.yaml:2: registry\.blobs: redirect needs registry\.blobsUrl/,
      ],
      [
        'files for nginx without a directory',
        'targets: {eu: {type: s3, bucket: b}}\nregistry:\n  target: eu\n  blobs: x-accel\n',
        /^s\.yaml:4: registry\.blobs: x-accel needs the directory/,
      ],
      [
        'signatures beyond the S3 limit',
        'registry:\n  signedFor: 8d\n',
        /^s\.yaml:2: registry\.signedFor: expected 10s to 7d/,
      ],
      [
        'tokens shorter than older clients assume',
        'registry:\n  tokenFor: 30s\n',
        /^s\.yaml:2: registry\.tokenFor: expected 1m to 1d/,
      ],
      [
        'token keys without passwords',
        'registry:\n  tokenKey: /k\n',
        /^s\.yaml:2: registry\.tokenKey: needs registry\.htpasswd/,
      ],
      [
        'a token address that is not a URL',
        'registry:\n  htpasswd: /h\n  tokenUrl: images.example.com\n',
        /^s\.yaml:3: registry\.tokenUrl: expected a URL that begins with http/,
      ],
      [
        'a token address that would end its header',
        'registry:\n  htpasswd: /h\n  tokenUrl: https://a/"b\n',
        /^s\.yaml:3: registry\.tokenUrl: expected a URL in ASCII/,
      ],
    ];
    for (const [what, text, message] of cases) {
      it(`${what}: settings.invalid`, () => {
        const error = refusal(() => load(text));
        expect(error).to.include({ code: 'settings.invalid', fault: 'usage' });
        expect(error.message).to.match(message);
      });
    }

    it('an unknown variable: settings.invalid', () => {
      const error = refusal(() => load(undefined, { DROPDOCK_SETTLE_QUITE: '1s' }));
      expect(error.message).to.match(/^DROPDOCK_SETTLE_QUITE: /);
    });

    it('an invalid value in a variable, though the file is valid: settings.invalid', () => {
      const variable = { DROPDOCK_SETTLE_QUIET: 'soon' };
      const error = refusal(() => load('settle: {quiet: 1s}\n', variable));
      expect(error.message).to.match(/^DROPDOCK_SETTLE_QUIET: settle\.quiet: /);
    });

    it('an invalid value of a flag: settings.invalid', () => {
      const error = refusal(() => load('retention: {keep: 1}\n', {}, keepFlag(-1)));
      expect(error.message).to.match(/^--keep: retention\.keep: /);
    });
  });
});
