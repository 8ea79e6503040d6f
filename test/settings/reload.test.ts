import { expect } from 'chai';
import { adoptSettings, restartSettings } from '#src/settings/reload.js';
import { settingPaths } from '#src/settings/schema.js';
import { loadSettings } from '#src/settings/settings.js';

const load = (text: string) =>
  loadSettings({ file: { name: 's.yaml', text }, environment: {}, flags: [] }).settings;

describe('adoptSettings', () => {
  it('takes over what may change, in the object that everybody shares', () => {
    const current = load('settle: {quiet: 1s}\nlog: {level: info}\n');
    const { settle } = current;
    const next = load('settle: {quiet: 2s}\nlog: {level: debug}\nrepositories: {app: {keep: 9}}\n');
    expect(adoptSettings(current, next)).to.deep.equal({
      applied: ['settle.quiet', 'log.level', 'repositories'],
      waiting: [],
    });
    expect(settle.quiet).to.equal(2000);
    expect(current).to.deep.equal(next);
  });

  it('leaves what only a restart changes as it was, and names it', () => {
    const current = load('');
    const next = load('paths: {inbox: /srv/inbox}\nthreads: {hash: 3}\nretention: {keep: 9}\n');
    expect(adoptSettings(current, next)).to.deep.equal({
      applied: ['retention.keep'],
      waiting: ['paths.inbox', 'threads.hash'],
    });
    expect(current).to.deep.equal(load('retention: {keep: 9}\n'));
  });

  it('says nothing of settings that are the same', () => {
    const text = 'repositories: {app: {immutableTags: [v1]}}\n';
    expect(adoptSettings(load(text), load(text))).to.deep.equal({ applied: [], waiting: [] });
  });

  it('takes a setting that nobody has thought of for one that needs a restart', () => {
    const names = [...settingPaths(), ['targets']].map((path) => path.join('.'));
    expect(restartSettings()).to.include.members(['paths.inbox', 'lock.stale', 'log.file']);
    expect(restartSettings()).not.to.include('log.level');
    expect(names).to.include.members(restartSettings());
  });
});
