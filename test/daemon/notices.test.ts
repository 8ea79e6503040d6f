/** Notifications from a flip or a rejection to the receiver, across crashes and receiver outages. */
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { startDaemon } from '#src/daemon/daemon.js';
import { Notifier } from '#src/daemon/notifier.js';
import { openServices, type Services } from '#src/daemon/services.js';
import { DropdockError } from '#src/errors.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { TargetChange } from '#src/publisher/target.js';
import { loadSettings } from '#src/settings/settings.js';
import { nodeDisk } from '#src/storage/disk.js';
import { dropdock } from '../support/daemon-process.js';
import { deliver, dropPath } from '../support/deliver.js';
import { editRepository } from '../support/edit-repository.js';
import { makeLayout } from '../support/make-image.js';
import { type Behaviour, Receiver } from '../support/receiver.js';
import {
  handsOf,
  passTime,
  receipts,
  type TestServices,
  testServices,
} from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const QUICK = 'settle: {quiet: 20ms}\nretry: {first: 20ms, most: 50ms}\ninbox: {scan: 100ms}\n';

/** The one element of a list. */
function only(list: unknown): object {
  expect(list).to.have.length(1);
  return (list as object[])[0] ?? {};
}

describe('notifications', function () {
  this.timeout(60_000);
  let root: string;
  let receiver: Receiver;
  const ends: (() => Promise<unknown>)[] = [];

  beforeEach(() => {
    root = tempDir();
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    removeTempDirs();
  });

  async function listen(behave?: Behaviour): Promise<void> {
    receiver = await Receiver.open(behave);
    ends.push(() => receiver.close());
  }
  const yaml = (more = '') =>
    `${QUICK}notify:\n  - {post: "${receiver.url}/a/secret/path", timeout: 60s${more}}\n`;
  const tell = (services: Services) => {
    const notifier = new Notifier(services, {});
    ends.push(() => notifier.stop());
    return notifier;
  };
  async function open(text = yaml()): Promise<TestServices> {
    const services = await testServices(root, { yaml: text });
    await services.run(prepareInbox, { inbox: services.inbox });
    ends.push(() => services.close());
    return services;
  }
  async function daemon(text = yaml()): Promise<TestServices> {
    const services = await open(text);
    const started = await startDaemon(services);
    ends.push(() => started.stop());
    tell(services);
    return services;
  }
  const told = () => receiver.posted.map(({ json }) => json);
  const toldOf = (what: string, count = 1) =>
    waitFor(what, () => told().filter(({ event }) => event === what).length >= count);
  const received = (count: number) => waitFor('the receipts', () => receipts(root).length >= count);

  it('report publishes with their changes and rejections, but not unchanged publishes', async () => {
    await listen();
    const services = await daemon();
    const first = makeLayout(dropPath(root, 'team/app:1.0')).digest;
    await toldOf('published');
    makeLayout(dropPath(root, 'team/app:1.0@again'));
    await received(2);
    const second = makeLayout(dropPath(root, 'team/app:1.0@new'), { layers: ['other'] }).digest;
    await toldOf('published', 2);
    makeLayout(dropPath(root, 'TEAM:1.0'));
    await toldOf('rejected');
    const [one, two, three] = told();
    expect(one).to.deep.include({ repository: 'team/app', base: null, drops: ['team/app:1.0'] });
    expect(one?.tags).to.deep.equal([{ tag: '1.0', from: null, to: first }]);
    expect(two?.tags).to.deep.equal([{ tag: '1.0', from: first, to: second }]);
    expect(two).to.deep.include({ base: one?.snapshot, id: `team~app@${two?.snapshot}` });
    expect(three).to.include({ event: 'rejected', drop: 'TEAM:1.0', code: 'name.invalid' });
    for (const each of [one, two, three]) expect(each?.by).to.deep.equal([userInfo().username]);
    expect(told()).to.have.length(3);
    await waitFor('nothing to be owed', () => spooled().length === 0);
    // What may be a secret is in no line of the log.
    expect(JSON.stringify(services.lines)).not.to.include('secret');
    expect(statSync(join(root, 'state', 'notify')).mode & 0o777).to.equal(0o700);
  });

  it('report changes made by commands in other processes and before the daemon started', async () => {
    await listen();
    const config = join(root, 'test.yaml');
    writeFileSync(config, yaml());
    const command = async (...given: string[]) => {
      const { code, stderr } = await dropdock(...given, '--root', root, '--config', config);
      expect(code, stderr).to.equal(0);
    };
    const drop = join(tempDir(), 'app');
    makeLayout(drop);
    await command('publish', drop, '--as', 'team/app:1.0');
    expect(told()).to.deep.equal([]);
    await daemon();
    await toldOf('published');
    // As the commands do; one of them as a process is enough.
    const other = await open();
    const edit = (what: TargetChange) => editRepository(other, 'team/app', what);
    await edit({ kind: 'untag', tags: ['1.0'] });
    await toldOf('untagged');
    // The grace period is over: no tag changes, so no notification is sent.
    passTime(other, 2 * 3_600_000);
    expect((await edit({ kind: 'expire' })).snapshot).to.be.a('string');
    passTime(other, -2 * 3_600_000);
    await edit({ kind: 'rollback', to: undefined });
    await command('remove', 'team/app');
    await toldOf('removed');
    const [, untagged, , removed] = told();
    const events = told().map(({ event }) => event);
    expect(events).to.deep.equal(['published', 'untagged', 'rolled-back', 'removed']);
    expect(untagged).to.deep.include({ detail: '1.0', drops: [] });
    expect(removed?.tags).to.deep.equal([{ ...only(untagged?.tags), to: null }]);
  });

  it('do not delay publishes: all drops are published before the first notice is answered', async () => {
    await listen(() => 'hang');
    await daemon();
    const count = 30;
    for (let k = 0; k < count; k++) makeLayout(dropPath(root, `team/app${k}:1.0`));
    await received(count);
    expect(receipts(root).map(({ status }) => status)).to.deep.equal(
      Array(count).fill('published'),
    );
    await toldOf('published');
    // No notice was answered, so no other was sent: publishing waited for none of them.
    expect(told()).to.have.length(1);
    expect(spooled()).to.have.length(count);
  });

  it('are delivered in order when the receiver comes back', async () => {
    let isThere = false;
    await listen(() => (isThere ? 200 : 503));
    const services = await daemon();
    for (const tag of ['1', '2', '3']) {
      makeLayout(dropPath(root, `app:${tag}`), { layers: [tag] });
      await received(Number(tag));
    }
    await waitFor('it to be tried again', () => receiver.posted.length > 3);
    expect(new Set(told().map(({ id }) => id)).size).to.equal(1);
    isThere = true;
    await waitFor('nothing to be owed', () => spooled().length === 0);
    const sent = services.lines.filter(({ event }) => event === 'notify.sent');
    const names = sent.map(({ fields }) => fields.id as string);
    expect(names).to.have.length(3);
    expect(names).to.deep.equal([...names].sort());
  });

  it('are delivered after a restart if they were pending at shutdown', async () => {
    await listen(() => 503);
    const services = await open();
    const notifier = new Notifier(services, {});
    makeLayout(dropPath(root, 'app:1'));
    await deliver(services, 'app:1');
    await waitFor('an attempt', () => receiver.posted.length > 0);
    await notifier.stop();
    expect(services.lines.at(-1)).to.deep.include({
      event: 'notify.waiting',
      fields: { count: 1 },
    });
    const before = receiver.posted.length;
    expect(spooled()).to.have.length(1);
    tell(services);
    await waitFor('another', () => receiver.posted.length > before);
    expect(told().at(-1)?.id).to.equal(told()[0]?.id);
  });

  for (const [when, job] of [
    ['before the flip', 'flipTo'],
    ['after the flip, before it is recorded', 'afterFlip'],
    ['after it is recorded, before the notice', 'settleFlip'],
  ] as const) {
    it(`report a flip that took place, when the process dies ${when}`, async () => {
      await listen();
      await dieAt(job);
      expect(spooled()).to.deep.equal([]);
      const flips = readdirSync(join(root, 'state', 'notify', 'flips'));
      expect(flips).to.have.length(1);
      const services = await open();
      tell(services);
      await waitFor('the flip to be settled', () => {
        return readdirSync(join(root, 'state', 'notify', 'flips')).length === 0;
      });
      await waitFor('nothing to be owed', () => spooled().length === 0);
      if (job === 'flipTo') expect(told()).to.deep.equal([]);
      else {
        await toldOf('published');
        const [one] = told();
        expect(one).to.deep.include({ repository: 'app', base: null, drops: ['app:1'] });
        expect(one?.tags).to.have.length(1);
        expect(told()).to.have.length(1);
      }
    });
  }

  it('report a flip even if recording it failed for a while', async () => {
    await listen();
    let isFull = true;
    const services = await openWith((job) => isFull && job === 'settleFlip');
    ends.push(() => services.close());
    makeLayout(dropPath(root, 'app:1'));
    expect((await deliver(services, 'app:1'))?.status).to.equal('published');
    tell(services);
    expect(told()).to.deep.equal([]);
    expect(spooled()).to.deep.equal([]);
    isFull = false;
    await toldOf('published');
  });

  it('are discarded, with a log line, when no setting wants them any more', async () => {
    await listen();
    const services = await open();
    makeLayout(dropPath(root, 'app:1'));
    await deliver(services, 'app:1');
    expect(spooled()).to.have.length(1);
    const other = await open(`${QUICK}notify: [{run: ["true"]}]\n`);
    tell(other);
    const line = await waitFor('it to be dropped', () =>
      other.lines.find(({ event }) => event === 'notify.dropped'),
    );
    expect(line.fields.count).to.equal(1);
    expect(spooled()).to.deep.equal([]);
    expect(told()).to.deep.equal([]);
  });

  it('write nothing for repositories and events without subscribers', async () => {
    await listen();
    const services = await open(yaml(', repositories: ["team/*"], on: [removed]'));
    for (const path of ['app:1', 'team/app:1']) {
      makeLayout(dropPath(root, path));
      await deliver(services, path);
    }
    expect(spooled()).to.deep.equal([]);
    expect(readdirSync(join(root, 'state', 'notify', 'flips'))).to.deep.equal([]);
  });

  it('cost nothing when no receiver is configured', async () => {
    const services = await open(QUICK);
    makeLayout(dropPath(root, 'app:1'));
    await deliver(services, 'app:1');
    expect(readdirSync(join(root, 'state'))).not.to.include('notify');
  });

  it('keep at most 10,000 for one target: the oldest are dropped and logged', async () => {
    await listen(() => 503);
    const services = await open();
    const directory = join(root, 'state', 'notify', services.notices.targets[0]?.key ?? '');
    mkdirSync(directory, { recursive: true });
    for (let k = 0; k < 10_000; k++) writeFileSync(join(directory, `2000-${k}.json`), '');
    makeLayout(dropPath(root, 'app:1'));
    await deliver(services, 'app:1');
    expect(spooled()).to.have.length(10_000);
    expect(spooled().at(-1)).to.match(/^20(?!00)/);
    expect(services.lines.find(({ event }) => event === 'notify.dropped')?.fields.count).to.equal(
      1,
    );
    rmSync(directory, { recursive: true });
  });

  /** Everything up to this job, and then nothing any more. */
  async function dieAt(last: string): Promise<void> {
    let isDead = false;
    const services = await openWith((job) => {
      isDead ||= job === last;
      return isDead;
    });
    makeLayout(dropPath(root, 'app:1'));
    await deliver(services, 'app:1').catch(() => {});
    services.owner.release();
  }

  async function openWith(fails: (job: string) => boolean): Promise<Services> {
    const { settings } = loadSettings({
      file: { name: 'it', text: yaml() },
      environment: {},
      flags: ['inbox', 'published', 'state'].map((part) => ({
        path: ['paths', part],
        value: join(root, part),
        flag: 'test',
      })),
    });
    const hands = handsOf(nodeDisk);
    const services = await openServices(
      () => settings,
      () => {},
      {
        ...hands,
        run: (job, request) =>
          fails(job.jobName)
            ? Promise.reject(new DropdockError('thread.failed', 'dead'))
            : hands.run(job, request),
      },
    );
    await services.run(prepareInbox, { inbox: services.inbox });
    return services;
  }

  /** What waits for all targets. */
  function spooled(): string[] {
    const spool = join(root, 'state', 'notify');
    return readdirSync(spool, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== 'flips')
      .flatMap(({ name }) => readdirSync(join(spool, name)))
      .filter((name) => name.endsWith('.json'))
      .sort();
  }
});
