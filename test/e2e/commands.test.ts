/** The commands, as an operator or a script runs them. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { describeProgress } from '#src/cli/progress-line.js';
import type { RepositoryId } from '#src/image/names.js';
import { lockRepository } from '#src/storage/repository-lock.js';
import { formatBytes } from '#src/units.js';
import { DaemonProcess, dropdock, MAIN } from '../support/daemon-process.js';
import { makeLayout, sha256, TestContent } from '../support/make-image.js';
import { dockerSaveMembers, makeTar } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('dropdock', function () {
  this.timeout(60_000);
  let root: string;

  beforeEach(() => {
    root = tempDir();
  });

  afterEach(removeTempDirs);

  const run = (...given: string[]) => dropdock(...given, '--root', root);
  const seen = (id: string) => readRepository(join(root, 'published'), id);

  it('publish: publishes a directory, leaves it in place, and reports the result', async () => {
    const image = makeLayout(join(root, 'my-layout'), { layers: ['a'] });
    const { code, stdout } = await run('publish', join(root, 'my-layout'), '--as', 'team/app:2');
    expect(code).to.equal(0);
    expect(stdout)
      .to.match(/^published team\/app as snapshot \d{8}T/)
      .and.to.contain(image.digest);
    expect(seen('team~app')?.tags).to.deep.equal({ 2: image.digest });
    expect(existsSync(join(root, 'my-layout/index.json'))).to.equal(true);
    const again = await run('publish', join(root, 'my-layout'), '--as', 'team/app:2', '--json');
    expect(JSON.parse(again.stdout)).to.include({ status: 'unchanged', repository: 'team/app' });
    // What its owner does to it afterwards is no business of what is published.
    for (const name of readdirSync(join(root, 'my-layout/blobs/sha256'))) {
      writeFileSync(join(root, 'my-layout/blobs/sha256', name), 'overwritten');
    }
    expect(seen('team~app')?.tags).to.deep.equal({ 2: image.digest });
    expect(readdirSync(join(root, 'state/work'))).to.deep.equal([]);
  });

  it('publish -: reads an archive from standard input', async () => {
    const archive = makeTar(dockerSaveMembers([{ names: ['x:1'], layers: ['a'] }], sha256));
    const child = spawn(process.execPath, [MAIN, 'publish', '-', '--as', 'app:1', '--root', root]);
    child.stdin.end(archive);
    await once(child, 'close');
    expect(child.exitCode).to.equal(0);
    expect(seen('app')?.tags).to.have.keys('1');
    expect(readdirSync(join(root, 'state/work'))).to.deep.equal([]);
  });

  it('publish --as @: gives each image of a bundle to its repository', async () => {
    const images = [
      { names: ['a:1'], layers: ['a'] },
      { names: ['quay.io/team/b:2'], layers: ['b'] },
    ];
    writeFileSync(join(root, 'x.tar'), makeTar(dockerSaveMembers(images, sha256)));
    const { code, stdout } = await run('publish', join(root, 'x.tar'), '--as', 'mirror/@all');
    expect(code).to.equal(0);
    expect(stdout).to.contain('published mirror/a').and.to.contain('published mirror/team/b');
    expect(seen('mirror~team~b')?.tags).to.have.keys('2');
  });

  it('publish: exits with 1 when the content is refused, with 2 when the command is wrong', async () => {
    makeLayout(join(root, 'broken'), {});
    rmSync(join(root, 'broken/blobs'), { recursive: true });
    const refused = await run('publish', join(root, 'broken'), '--as', 'app:1');
    expect(refused.code).to.equal(1);
    expect(refused.stderr).to.contain('content.missing');
    expect((await run('publish', join(root, 'nowhere'))).code).to.equal(2);
    expect((await run('publish', '-')).code).to.equal(2);
    expect((await run('publish', join(root, 'broken'), '--as', 'Not A Name')).code).to.equal(2);
    expect((await run('nonsense')).code).to.equal(2);
    expect((await dropdock('config', '--config', '/nowhere.yaml')).code).to.equal(2);
  });

  it('publish: exits with 3 on a system error, and loses nothing', async () => {
    makeLayout(join(root, 'layout'), {});
    mkdirSync(join(root, 'published/web/app'), { recursive: true });
    const { code, stderr } = await run('publish', join(root, 'layout'), '--as', 'app');
    expect(code).to.equal(3);
    expect(stderr).to.contain('is not a symbolic link');
  });

  it('status: shows published repositories and waiting drops', async () => {
    expect((await run('status')).stdout).to.contain('Nothing is published yet');
    makeLayout(join(root, 'layout'), {});
    await run('publish', join(root, 'layout'), '--as', 'team/app');
    makeLayout(join(root, 'inbox/waiting'), {});
    const { stdout } = await run('status');
    expect(stdout)
      .to.match(/team\/app +\d{8}T\d{6}\.\d{3}Z +\d+s +1 +1/)
      .and.to.match(/waiting +waiting/);
    const one = JSON.parse((await run('status', 'team/app', '--json')).stdout);
    expect(one.repositories[0].tags[0].tag).to.equal('1.0');
    expect((await run('status', 'nobody')).code).to.equal(2);
  });

  it('history: lists which snapshots were current, and why', async () => {
    for (const layer of ['a', 'b']) {
      rmSync(join(root, 'layout'), { recursive: true, force: true });
      makeLayout(join(root, 'layout'), { layers: [layer] });
      await run('publish', join(root, 'layout'), '--as', 'app');
    }
    const entries = JSON.parse((await run('history', 'app', '--json')).stdout);
    expect(entries.map((entry: { current: boolean }) => entry.current)).to.deep.equal([
      true,
      false,
    ]);
    expect((await run('history', 'app')).stdout)
      .to.contain('current')
      .and.to.contain('kept');
  });

  it('history: names the user of each change, the one who called sudo included, and its tags', async () => {
    makeLayout(join(root, 'layout'));
    const given = ['publish', join(root, 'layout'), '--as', 'app:1', '--json'];
    const receipt = JSON.parse((await run(...given)).stdout);
    expect(receipt.by).to.equal(userInfo().username);
    makeLayout(join(root, 'other'), { layers: ['other'] });
    const env = { ...process.env, SUDO_USER: 'ann' };
    const sudo = (...args: string[]) =>
      execFileSync(process.execPath, [MAIN, ...args, '--root', root], { env });
    sudo('publish', join(root, 'other'), '--as', 'app:2');
    sudo('untag', 'app', '1');
    const me = userInfo().username;
    const rows = (await run('history', 'app')).stdout.trimEnd().split('\n');
    expect(rows.map((row) => row.split(/ {2,}/).slice(3))).to.deep.equal([
      ['WHY', 'BY', 'FROM', 'TAGS'],
      ['untag', 'ann', '-', 'removed 1'],
      ['publish', 'ann', 'app:2', 'added 2'],
      ['publish', me, 'app:1', 'added 1'],
    ]);
  });

  it('verify: finds damage, and --repair repairs what has a good copy', async () => {
    const content = new TestContent();
    content.writeLayout(join(root, 'layout'), [{ image: content.image(), tag: '1' }]);
    await run('publish', join(root, 'layout'), '--as', 'app');
    expect((await run('verify')).code).to.equal(0);
    rmSync(join(root, 'published/app/app.json'));
    expect((await run('verify')).stdout).to.contain('wrong-link');
    expect((await run('verify', '--repair')).code).to.equal(0);
    const [blob = ''] = readdirSync(join(root, 'published/web/app/blobs'));
    const path = join(root, 'published/web/app/blobs', blob);
    const bytes = readFileSync(path);
    rmSync(path);
    writeFileSync(path, bytes.fill(0, 0, 1));
    writeFileSync(join(root, 'published/web/app/stranger'), '');
    const { code, stdout } = await run('verify', 'app');
    expect(code).to.equal(3);
    expect(stdout)
      .to.match(/damaged +.*sha256:/)
      .and.to.match(/foreign +.*stranger/);
  });

  it('verify --repair: reports a busy repository, repairs the others, and exits with 75', async () => {
    const config = join(root, 'c.yaml');
    writeFileSync(config, 'lock: {wait: 0s}\nretention: {keep: 1, grace: 0s}\n');
    makeLayout(join(root, 'layout'), { layers: ['a'] });
    for (const name of ['app', 'part']) await run('publish', join(root, 'layout'), '--as', name);
    const roots = { published: join(root, 'published'), state: join(root, 'state') };
    const options = { staleMs: 10_000, waitMs: 0, kernel: true, owner: 'p1x1' };
    rmSync(join(root, 'published/app/app.json'));
    const repair = () => run('verify', '--repair', '--json', '--config', config);
    const lock = await lockRepository(roots, 'part' as RepositoryId, options);
    const busy = await repair();
    await lock.release();
    expect(busy.code).to.equal(75);
    const { mended, findings, notRepaired } = JSON.parse(busy.stdout);
    expect([mended, findings]).to.deep.equal([['app: placed the link for Crane'], []]);
    expect(notRepaired).to.have.length(1);
    expect(notRepaired[0].id).to.equal('part');
    // Not ours: waiting does not help.
    symlinkSync('/nowhere', join(root, 'published/web/stranger'));
    const strange = await repair();
    expect([strange.code, JSON.parse(strange.stdout).notRepaired[0].id]).to.deep.equal([
      3,
      'stranger',
    ]);
  });

  it('clean --dry-run: lists what would be removed and what retains the rest, and removes nothing', async () => {
    const config = join(root, 'c.yaml');
    writeFileSync(config, 'retention: {keep: 5, grace: 0s}\n');
    for (const layer of ['a', 'b', 'c']) {
      rmSync(join(root, 'layout'), { recursive: true, force: true });
      makeLayout(join(root, 'layout'), { layers: [layer] });
      await run('publish', join(root, 'layout'), '--as', 'app', '--config', config);
    }
    writeFileSync(config, 'retention: {keep: 1, grace: 0s}\n');
    const dry = await run('clean', '--dry-run', '--config', config);
    expect(dry.stdout.match(/would be removed +stale/g)).to.have.length(2);
    expect(dry.stdout).to.match(/kept +current/);
    expect(readdirSync(join(root, 'published/master/app'))).to.have.length(3);
    const done = await run('clean', '--config', config);
    const [, said] = /unused content: (.*), freed/.exec(done.stdout) ?? [];
    expect(said).to.equal('8 files');
    expect(dry.stdout).to.contain(done.stdout.split('freed ')[1]);
    expect(readdirSync(join(root, 'published/master/app'))).to.have.length(1);
    expect(seen('app')?.tags).to.have.keys('1.0');
  });

  it('clean: removes untagged content from the published tree and from the disk', async () => {
    const config = join(root, 'c.yaml');
    writeFileSync(config, 'retention: {keep: 3, grace: 1h}\n');
    const configured = (...given: string[]) => run(...given, '--config', config);
    const [good, secret] = ['good', 'secret'].map((layer) =>
      makeLayout(join(root, layer), { layers: [layer] }),
    );
    for (const tag of ['good', 'secret']) {
      await configured('publish', join(root, tag), '--as', `app:${tag}`);
    }
    await configured('untag', 'app', 'secret');
    expect((await configured('clean', '--dry-run')).stdout).not.to.contain('would be created');
    const path = join(root, 'published/web/app/manifests/oci', secret?.digest ?? '');
    writeFileSync(config, 'retention: {keep: 1, grace: 0s}\n');
    const dry = await configured('clean', '--dry-run');
    expect(dry.stdout).to.match(/would be created +current +without 2 replaced manifests/);
    expect(existsSync(path)).to.equal(true);
    const done = await configured('clean', '--json');
    const { repositories, content, notDone } = JSON.parse(done.stdout);
    expect(dry.stdout).to.contain(`would free ${formatBytes(content.bytes)}`);
    expect(existsSync(path)).to.equal(false);
    expect(repositories[0]).to.include({
      overdue: 2,
      renewed: readdirSync(join(root, 'published/master/app'))[0],
    });
    expect([content.files, notDone]).to.deep.equal([4, []]);
    expect(seen('app')?.tags).to.deep.equal({ good: good?.digest });
    expect((await configured('history', 'app')).stdout).to.contain('clean');
    expect((await run('verify')).stdout).to.contain('0 problems');
  });

  it('config: shows each setting and its origin', async () => {
    const config = join(root, 'c.yaml');
    writeFileSync(config, 'settle:\n  quiet: 3s\n');
    const { stdout } = await run('config', '--config', config);
    expect(stdout).to.match(new RegExp(`settle.quiet +3s +\\(${config}:2\\)`));
    expect(stdout)
      .to.match(/paths.inbox .*\(--root\)/)
      .and.to.match(/retention.keep +3 +\(default\)/);
  });

  it('init: creates the directories', async () => {
    expect((await run('init')).code).to.equal(0);
    for (const path of ['inbox/.claimed', 'published/web', 'state/content']) {
      expect(existsSync(join(root, path)), path).to.equal(true);
    }
  });

  it('run: exits when the reader of its output is gone', async () => {
    const daemon = await DaemonProcess.start(root);
    daemon.child.stdout?.pause();
    expect(await daemon.stop()).to.equal(0);
  });

  it('shows progress with bytes, rate and current step', () => {
    const gib = 1024 ** 3;
    expect(describeProgress('reading', gib, 2 * gib, 2000)).to.equal(
      'reading [############------------] 1 GiB of 2 GiB, 512 MiB/s',
    );
    expect(describeProgress('receiving', 1024, undefined, 1000)).to.equal(
      'receiving 1 KiB, 1 KiB/s',
    );
  });
});
