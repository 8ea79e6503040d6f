/** The daemon with several targets: each has its own queue, and a receipt lists them all. */

import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { claimBatch } from '#src/staging/claim-batch.js';
import { stage } from '#src/staging/stage.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import type { Job } from '#src/storage/job.js';
import { eachStored } from '#src/targets/directory/sweep.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { blobPath, makeLayout, TestContent } from '../support/make-image.js';
import { makeTar, tarMembers } from '../support/make-tar.js';
import { credentialsFile } from '../support/object-stores.js';
import { readRepository } from '../support/outside-reader.js';
import { S3Double } from '../support/s3-double.js';
import { receipts, testDaemon } from '../support/service.js';
import { checkStore } from '../support/store-publisher.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

function readManifest(double: S3Double): { readonly layers: readonly { digest: string }[] } {
  const key = [...double.objects.keys()].find((each) => each.includes('/manifests/')) ?? '';
  return JSON.parse(String(double.read(key)));
}

describe('a daemon with several targets', () => {
  let eu: S3Double;
  let us: S3Double;
  let root: string;
  let running: Awaited<ReturnType<typeof testDaemon>> | undefined;
  beforeEach(async () => {
    [eu, us] = await Promise.all([S3Double.start(), S3Double.start({ kind: 'radosgw' })]);
    root = tempDir();
    mkdirSync(join(root, 'inbox'));
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    await Promise.all([eu.stop(), us.stop()]);
    removeTempDirs();
  });

  const target = (double: S3Double) => `{type: s3, endpoint: "${double.endpoint}", bucket: images,
    prefix: some/where, pathStyle: true, timeout: 2s, credentialsFile: ${credentialsFile()}}`;
  const yaml = (targets: string) => `
settle: {quiet: 50ms, timeout: 2s}
retry: {first: 20ms, most: 100ms}
targets:
  eu: ${target(eu)}
  us: ${target(us)}
repositories:
  team/app: {targets: ${targets}}
`;
  const start = async (targets: string, disk?: Disk) => {
    running = await testDaemon(root, { yaml: yaml(targets), ...(disk && { disk }) });
    return running;
  };
  const drop = (tag: string, name = `team/app:${tag}`) => {
    makeLayout(join(root, 'made', tag), { layers: [tag], tag });
    mkdirSync(join(root, 'inbox/team'), { recursive: true });
    makeLayout(join(root, 'inbox', name), { layers: [tag], tag });
  };
  const receipt = async (at = -1) => {
    await waitFor('a receipt', () => receipts(root).length > 0);
    return receipts(root).at(at) as ReturnType<typeof receipts>[number] & {
      targets: Record<
        string,
        { status: string; snapshot?: string; retries: number; code?: string }
      >;
    };
  };
  const inStore = (double: S3Double) => checkStore(double);

  it('publishes to each target, and reports each', async () => {
    const { services } = await start('[local, eu, us]');
    drop('1');
    const { status, targets, snapshot } = await receipt();
    expect(status).to.equal('published');
    expect(Object.keys(targets)).to.deep.equal(['local', 'eu', 'us']);
    for (const each of Object.values(targets)) {
      expect(each, JSON.stringify(services.lines)).to.include({ status: 'published', retries: 0 });
    }
    expect(snapshot).to.equal(targets.local?.snapshot);
    expect(readRepository(join(root, 'published'), 'team~app')?.tags).to.have.keys('1');
    expect([inStore(eu), inStore(us)]).to.deep.equal([['1'], ['1']]);
    await waitFor('the end', () => readdirSync(join(root, 'state/work')).length === 0);
  });

  it('publishes to a store alone, and leaves the directory unchanged', async () => {
    await start('[eu]');
    drop('1');
    const { status, targets } = await receipt();
    expect(status).to.equal('published');
    expect(Object.keys(targets)).to.deep.equal(['eu']);
    expect(inStore(eu)).to.deep.equal(['1']);
    expect(readRepository(join(root, 'published'), 'team~app')).to.equal(undefined);
  });

  it('accepts a thin drop when the store has the omitted content', async () => {
    await start('[eu]');
    drop('1');
    await receipt();
    // Its layer is in the store alone: this machine forgets it.
    const path = join(root, 'inbox/team/app:2');
    const { layers } = readManifest(eu);
    rmSync(join(root, 'state/content'), { recursive: true });
    makeLayout(join(root, 'made', '2'), { layers: ['1', 'two'], tag: '2' });
    rmSync(blobPath(join(root, 'made', '2'), layers[0]?.digest ?? ''));
    renameSync(join(root, 'made', '2'), path);
    await waitFor('both', () => receipts(root).length === 2);
    expect((await receipt()).targets.eu?.status).to.equal('published');
    expect(inStore(eu)).to.deep.equal(['1', '2']);
  });

  it('publishes the parts of a bundle to the targets of each repository', async () => {
    await start('[local, eu]');
    const content = new TestContent();
    const images = ['app:1', 'other:1'].map((tag) => ({
      image: content.image({ layers: [tag] }),
      tag,
    }));
    mkdirSync(join(root, 'inbox/team'));
    content.writeLayout(join(root, 'inbox/team/@all'), images);
    await receipt();
    const [{ repositories }] = receipts(root) as unknown as [
      { repositories: { repository: string; targets?: object }[] },
    ];
    const [app, other] = repositories;
    expect(Object.keys(app?.targets ?? {})).to.deep.equal(['local', 'eu']);
    expect(other?.targets).to.equal(undefined);
    expect(inStore(eu)).to.deep.equal(['1']);
    expect([...eu.objects.keys()].join()).not.to.include('other');
    for (const id of ['team~app', 'team~other']) {
      expect(readRepository(join(root, 'published'), id)?.tags).to.have.keys('1');
    }
  });

  it("does not block a target on another target's errors, and publishes to none twice", async () => {
    const { services } = await start('[local, eu, us]');
    let isDown = true;
    us.trouble = () => (isDown ? 503 : undefined);
    drop('1');
    const retries = () =>
      services.lines.filter(
        ({ event, fields }) => event === 'publish.retry' && fields.target === 'us',
      );
    await waitFor('some retries', () => retries().length >= 3);
    // The store answers when it can, whatever the other does.
    await waitFor('the store that is up', () => inStore(eu).length === 1);
    expect(receipts(root)).to.deep.equal([]);
    expect(readdirSync(join(root, 'inbox/.claimed'))).to.have.length(1);
    // What comes later is not held back either.
    drop('2');
    const done = () =>
      services.lines.filter(
        ({ event, fields }) => event === 'publish.target' && fields.target === 'eu',
      );
    await waitFor('the second one', () => done().length === 2);
    expect(inStore(eu)).to.deep.equal(['1', '2']);
    eu.count();
    isDown = false;
    await waitFor('both receipts', () => receipts(root).length === 2);
    expect(inStore(us)).to.deep.equal(['1', '2']);
    const { targets } = await receipt(0);
    expect(targets.eu).to.include({ status: 'published', retries: 0 });
    expect(targets.us?.retries).to.be.greaterThan(0);
    expect(eu.count(), 'eu has it already').to.deep.equal({});
    await waitFor('no claim', () => readdirSync(join(root, 'inbox/.claimed')).length === 0);
  });

  it('resumes after a crash with the targets that lack the drop', async () => {
    const first = await start('[local, eu, us]');
    us.trouble = () => 503;
    drop('1');
    await waitFor('eu', () => inStore(eu).length === 1);
    await first.stop();
    const before = eu.objects.size;
    us.trouble = undefined;
    await start('[local, eu, us]');
    const { status, targets } = await receipt();
    expect(status).to.equal('published');
    expect(targets.us?.status).to.equal('published');
    expect(inStore(us)).to.deep.equal(['1']);
    expect(eu.objects.size, 'no second snapshot').to.equal(before);
  });

  it('survives a truncated archive that cannot be returned, and publishes it when complete', async () => {
    const content = new TestContent();
    content.writeLayout(join(root, 'made'), [
      { image: content.image({ layers: ['base', 'app'] }), tag: '1' },
    ]);
    const bytes = gzipSync(makeTar(tarMembers(join(root, 'made'))));
    const name = 'team/app:1.tar.gz';
    // A file is given back by a link, which does not replace what is there meanwhile.
    let refused = 0;
    const disk = interfereWith(nodeDisk, (operation) => {
      const isReturn = operation.verb === 'link' && operation.paths.endsWith(name);
      if (isReturn && ++refused <= 2) throw systemError('EIO', operation);
    });
    const { services, daemon } = await start('[local, eu]', disk);
    let bug: unknown;
    daemon.failed.catch((error) => {
      bug = error;
    });
    mkdirSync(join(root, 'inbox/team'));
    const path = join(root, 'inbox', name);
    writeFileSync(path, bytes.subarray(0, bytes.length / 2));
    await waitFor('it to be returned', () => refused >= 3 && existsSync(path));
    const retries = services.lines.filter(({ event }) => event === 'publish.retry');
    expect(retries.map(({ fields }) => fields.code)).to.deep.equal(['EIO', 'EIO']);
    appendFileSync(path, bytes.subarray(bytes.length / 2));
    expect((await receipt()).status).to.equal('published');
    expect(inStore(eu)).to.deep.equal(['1']);
    expect(readRepository(join(root, 'published'), 'team~app')?.tags).to.have.keys('1');
    expect(bug).to.equal(undefined);
  });

  it('exits on purpose when returning an archive raises a bug', async () => {
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb === 'link' && paths.endsWith('app:1.tar.gz')) throw new Error('made up');
    });
    const { daemon } = await start('[local, eu]', disk);
    let bug: Error | undefined;
    daemon.failed.catch((error) => {
      bug = error;
    });
    const whole = gzipSync(
      makeTar([{ path: 'oci-layout', body: '{"imageLayoutVersion":"1.0.0"}' }]),
    );
    mkdirSync(join(root, 'inbox/team'));
    writeFileSync(join(root, 'inbox/team/app:1.tar.gz'), whole.subarray(0, whole.length / 2));
    const { message } = await waitFor('the daemon to say so', () => bug);
    expect(message).to.equal('made up');
  });

  it('raises a bug during re-staging instead of retrying forever', async () => {
    const { daemon, services } = await start('[eu]');
    const { run, roots } = services;
    let stagings = 0;
    Object.assign(services, {
      run: async (job: Job<unknown, unknown>, request: unknown) => {
        if (job === stage && ++stagings > 0) throw new TypeError('a bug');
        const done = await run(job, request);
        // Its blobs are gone when they are to be sent; then it is read once more.
        if (job === claimBatch) {
          eachStored(nodeDisk, roots, (path) => {
            if (!readFileSync(path, 'utf8').includes('schemaVersion')) rmSync(path);
          });
        }
        return done;
      },
    });
    drop('1');
    const error = await daemon.failed.catch((thrown: unknown) => thrown);
    expect(error).to.include({ message: 'a bug' });
    expect(stagings).to.equal(1);
  });

  it('rejects a drop that every target refuses, and names these targets', async () => {
    const { services } = await start('[local, eu]');
    drop('1');
    await receipt();
    const before = services.settings.repositories['team/app'];
    services.reload({ repositories: { 'team/app': { ...before, immutableTags: true } } });
    makeLayout(join(root, 'inbox/team/app:1'), { layers: ['moved'], tag: '1' });
    await waitFor('both', () => receipts(root).length === 2);
    const { status, code, targets } = await receipt();
    expect([status, code]).to.deep.equal(['rejected', 'tag.immutable']);
    expect(targets.eu).to.include({ status: 'rejected', code: 'tag.immutable' });
  });
});
