import { expect } from 'chai';
import { UserNames, userSources } from '#src/storage/user-names.js';

const PASSWD = 'root:x:0:0::/root:/bin/sh\nann:x:1000:1000:Ann:/home/ann:/bin/sh\nodd\n';

describe('the names of users', () => {
  it('are found on this host', async () => {
    expect(await new UserNames(userSources()).nameOf(0)).to.equal('root');
  });

  it('are asked of each source in turn, and kept', async () => {
    const asked: string[] = [];
    const names = new UserNames([
      async (uid) => {
        asked.push(`file ${uid}`);
        return PASSWD;
      },
      async (uid) => {
        asked.push(`getent ${uid}`);
        return uid === 2000 ? 'bob:*:2000:2000:::\n' : '';
      },
    ]);
    const uids = [1000, 2000, 3000];
    expect(await Promise.all(uids.map((uid) => names.nameOf(uid)))).to.deep.equal([
      'ann',
      'bob',
      '3000',
    ]);
    expect(await names.nameOf(3000)).to.equal('3000');
    const first = ['file 1000', 'file 2000', 'getent 2000', 'file 3000', 'getent 3000'];
    expect(asked).to.deep.equal(first);
  });

  it('are uids while the sources fail', async () => {
    const names = new UserNames([() => Promise.reject(new Error('EACCES'))]);
    expect(await names.nameOf(1000)).to.equal('1000');
  });

  it('are told in the order of the calls, because drops stay in the order of their claims', async () => {
    let answer = (_text: string) => {};
    const slow = new Promise<string>((resolve) => {
      answer = resolve;
    });
    const names = new UserNames([(uid) => (uid === 1 ? slow : Promise.resolve(PASSWD))]);
    const told: string[] = [];
    const all = [1, 1000, 1, 0].map((uid) => names.nameOf(uid).then((name) => told.push(name)));
    answer('');
    await Promise.all(all);
    expect(told).to.deep.equal(['1', 'ann', '1', 'root']);
  });
});
