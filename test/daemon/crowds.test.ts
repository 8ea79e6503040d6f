import { expect } from 'chai';
import { Crowds } from '#src/daemon/crowds.js';

describe('Crowds', () => {
  it('let pass at once who has nobody to wait for', () => {
    const crowds = new Crowds(60_000);
    crowds.enter('others');
    expect(crowds.gone('a')).to.equal(undefined);
    crowds.enter('a');
    crowds.leave('a');
    expect(crowds.gone('a')).to.equal(undefined);
  });

  it('are gone when the last of them has left', async () => {
    const crowds = new Crowds(60_000);
    let isGone = false;
    crowds.enter('a');
    crowds.enter('a');
    const gone = crowds.gone('a')?.then(() => {
      isGone = true;
    });
    crowds.leave('a');
    await new Promise((resolve) => setImmediate(resolve));
    expect(isGone).to.equal(false);
    crowds.leave('a');
    await gone;
    expect(isGone).to.equal(true);
  });

  it('are waited for no longer than so long', async () => {
    const crowds = new Crowds(1);
    crowds.enter('a');
    await crowds.gone('a');
    crowds.leave('a');
  });

  it('count nobody without a name', () => {
    const crowds = new Crowds(1);
    crowds.enter(undefined);
    crowds.leave(undefined);
    crowds.leave('a');
    expect(crowds.gone('a')).to.equal(undefined);
  });
});
