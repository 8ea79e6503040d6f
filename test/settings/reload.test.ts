import { expect } from 'chai';
import { CurrentSettings, restartSettings } from '#src/settings/reload.js';
import { settingPaths } from '#src/settings/schema.js';
import { loadSettings } from '#src/settings/settings.js';

const load = (text: string) =>
  loadSettings({ file: { name: 's.yaml', text }, environment: {}, flags: [] }).settings;

describe('a reload of the settings', () => {
  it('returns a value with the changeable settings, and lists them', () => {
    const current = new CurrentSettings(load('settle: {quiet: 1s}\nlog: {level: info}\n'));
    const next = load('settle: {quiet: 2s}\nlog: {level: debug}\nrepositories: {app: {keep: 9}}\n');
    expect(current.adopt(next)).to.deep.equal({
      applied: ['settle.quiet', 'log.level', 'repositories'],
      waiting: [],
    });
    expect(current.now()).to.deep.equal(next);
  });

  it('does not modify the previous value', () => {
    const text = 'settle: {quiet: 1s}\nrepositories: {app: {keep: 1}}\n';
    const before = load(text);
    const current = new CurrentSettings(before);
    current.adopt(load('settle: {quiet: 2s}\nrepositories: {app: {keep: 2}}\n'));
    expect(before).to.deep.equal(load(text));
    expect(current.now()).not.to.equal(before);
  });

  it('returns values that are frozen at every depth', () => {
    const current = new CurrentSettings(load(''));
    current.adopt(load('retention: {keep: 9}\nrepositories: {app: {immutableTags: [v1]}}\n'));
    const isFrozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      (Object.isFrozen(value) && Object.values(value ?? {}).every(isFrozen));
    expect(isFrozen(load('repositories: {app: {immutableTags: [v1]}}\n'))).to.equal(true);
    expect(isFrozen(current.now())).to.equal(true);
  });

  it('keeps settings that need a restart, and lists them', () => {
    const current = new CurrentSettings(load(''));
    const next = load('paths: {inbox: /srv/inbox}\nthreads: {hash: 3}\nretention: {keep: 9}\n');
    expect(current.adopt(next)).to.deep.equal({
      applied: ['retention.keep'],
      waiting: ['paths.inbox', 'threads.hash'],
    });
    expect(current.now()).to.deep.equal(load('retention: {keep: 9}\n'));
  });

  it('reports nothing for equal settings, and keeps the value', () => {
    const text = 'repositories: {app: {immutableTags: [v1]}}\n';
    const before = load(text);
    const current = new CurrentSettings(before);
    expect(current.adopt(load(text))).to.deep.equal({ applied: [], waiting: [] });
    expect(current.now()).to.equal(before);
  });

  it('treats a setting without a rule as one that needs a restart', () => {
    const names = [...settingPaths(), ['targets']].map((path) => path.join('.'));
    expect(restartSettings()).to.include.members(['paths.inbox', 'lock.stale', 'log.file']);
    expect(restartSettings()).not.to.include('log.level');
    expect(names).to.include.members(restartSettings());
  });
});
