import { expect } from 'chai';
import { whoRuns } from '#src/cli/who-runs.js';

describe('the user who runs a command', () => {
  const user = { name: () => 'root', uid: 0 };
  const nameless = {
    name: () => {
      throw new Error('uv_os_get_passwd returned ENOENT');
    },
    uid: 4711,
  };

  it('is the user of the process, or the one who called sudo', () => {
    expect(whoRuns({}, user)).to.equal('root');
    expect(whoRuns({ SUDO_USER: 'ann' }, user)).to.equal('ann');
    expect(whoRuns({ SUDO_USER: '' }, user)).to.equal('root');
  });

  it('is a uid where there is no name', () => {
    expect(whoRuns({}, nameless)).to.equal('4711');
    expect(whoRuns({}, { ...nameless, uid: undefined })).to.equal(undefined);
  });
});
