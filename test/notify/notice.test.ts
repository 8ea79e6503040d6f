import { expect } from 'chai';
import {
  type FlipNotice,
  noticeHeaders,
  noticeVariables,
  type RejectionNotice,
  rejectionNotice,
  targetOf,
  wants,
} from '#src/notify/notice.js';
import { matchesRepository } from '#src/settings/repository-policy.js';
import { loadSettings } from '#src/settings/settings.js';

const entry = { on: ['published' as const], repositories: ['**'], timeout: 1000 };

describe('a notification', () => {
  it('is signed as GitHub signs, and matches its published example', () => {
    // docs.github.com, "Validating webhook deliveries": secret, payload and signature.
    const secret = Buffer.from("It's a Secret to Everybody");
    const headers = noticeHeaders(
      { event: 'published', id: 'a' },
      Buffer.from('Hello, World!'),
      secret,
    );
    expect(headers['X-Hub-Signature-256']).to.equal(
      'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
    );
    expect(headers['Content-Length']).to.equal(13);
  });

  it('is unsigned without a secret, and its id always fits into a header', () => {
    const headers = noticeHeaders(
      { event: 'rejected', id: 'ü\n: x' },
      Buffer.from('{}'),
      undefined,
    );
    expect(headers).not.to.have.property('X-Hub-Signature-256');
    expect(headers['X-Dropdock-Delivery']).to.equal('%C3%BC%0A%3A%20x');
  });

  it('is created from the receipt of a rejection, and from no other', () => {
    const receipt = {
      ...{ status: 'rejected', drop: 'a/b', claim: 'a~b', claimedAt: 'T', finishedAt: 'F' },
      ...{ repository: 'a/b', code: 'digest.mismatch', message: 'm', hint: 'h', digest: 'd' },
      by: 'ann',
    };
    expect(rejectionNotice(JSON.stringify(receipt))).to.deep.equal({
      ...{ version: 1, event: 'rejected', id: 'a~b@T', at: 'F', repository: 'a/b', drop: 'a/b' },
      ...{ code: 'digest.mismatch', message: 'm', hint: 'h', path: null, digest: 'd' },
      by: ['ann'],
    });
    expect(rejectionNotice(JSON.stringify({ ...receipt, status: 'published' }))).to.equal(
      undefined,
    );
  });
});

describe('the environment of a program', () => {
  const notice = { version: 1, event: 'published', id: 'x', at: 'T', repository: 'a/b' } as const;
  const flip = { ...notice, snapshot: 'S', base: null, tags: [], untagged: [], drops: [] };

  it('names the users, and is complete for a notification of an earlier version', () => {
    const by = ['ann', 'bob'];
    expect(noticeVariables({ ...flip, by, detail: null }).DROPDOCK_BY).to.equal('ann,bob');
    const old = { ...flip, detail: null } as unknown as FlipNotice;
    expect(noticeVariables(old)).to.include({ DROPDOCK_BY: '', DROPDOCK_SNAPSHOT: 'S' });
  });
});

describe('subscriptions to notifications', () => {
  const cases: readonly [string[], string[], Partial<RejectionNotice> & object, boolean][] = [
    [['published'], ['**'], { event: 'published', repository: 'a/b' } as never, true],
    [['published'], ['**'], { event: 'rejected', repository: 'a/b' }, false],
    [['rejected'], ['**'], { event: 'rejected', repository: null }, true],
    [['rejected'], ['team/*'], { event: 'rejected', repository: null }, false],
    [['rejected'], ['team/*', 'x'], { event: 'rejected', repository: 'x' }, true],
    [['rejected'], ['team/*'], { event: 'rejected', repository: 'team/a/b' }, false],
  ];
  for (const [on, repositories, notice, wanted] of cases) {
    it(`${wanted ? 'is' : 'is not'} ${on} of ${repositories} for ${JSON.stringify(notice)}`, () => {
      const target = { on: on as never, repositories };
      expect(wants(target, notice as never, matchesRepository)).to.equal(wanted);
    });
  }
});

describe('a notification target', () => {
  it('is displayed without the path of its URL, which may be a secret', () => {
    const { name } = targetOf({
      ...entry,
      post: 'https://u:pass@chat.example.com/T0/B1/sEcReT?k=v',
    });
    expect(name).to.equal('https://chat.example.com');
  });

  it('has one key per program or URL, whatever its other settings', () => {
    const key = (more: object) => targetOf({ ...entry, run: ['a', 'b'], ...more }).key;
    expect(key({ repositories: ['x'], timeout: 5 })).to.equal(key({}));
    expect(key({ run: ['a', 'c'] })).not.to.equal(key({}));
    expect(key({})).to.match(/^[0-9a-f]{16}$/);
  });
});

describe('the notify settings', () => {
  const load = (text: string) =>
    loadSettings({ file: { name: 'it', text: `notify:\n${text}` }, environment: {}, flags: [] })
      .settings.notify;

  it('have defaults', () => {
    expect(load('- run: [a]')).to.deep.equal([
      {
        on: ['published', 'rejected', 'rolled-back', 'untagged', 'removed'],
        ...{ repositories: ['**'], run: ['a'], timeout: 30_000 },
      },
    ]);
  });

  for (const text of [
    '- on: [published]',
    '- {run: [a], post: "http://x"}',
    '- {run: [a], secretFile: /x}',
    '- post: ftp://x',
    '- post: nowhere',
    '- run: []',
    '- {run: [a], on: [publish]}',
    '- {run: [a], onn: [published]}',
  ]) {
    it(`reject ${text} and report its line`, () => {
      expect(() => load(text)).to.throw(/it:[12]: notify\.0/);
    });
  }

  it('accept the environment variables of a notified program', () => {
    const environment = { DROPDOCK_EVENT: 'x', DROPDOCK_ID: 'y', DROPDOCK_REPOSITORY: '' };
    expect(() => loadSettings({ file: undefined, environment, flags: [] })).not.to.throw();
    const other = { DROPDOCK_EVENTS: 'x' };
    expect(() => loadSettings({ file: undefined, environment: other, flags: [] })).to.throw(
      'DROPDOCK_EVENTS',
    );
  });
});
