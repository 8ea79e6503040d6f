/**
 * verify finds every kind of damage, and --repair restores what has a good copy: in the store, in other
 * files of the snapshots, or in the description of a snapshot. Content without a good copy is reported.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId } from '#src/image/names.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { readClock } from '#src/storage/clock.js';
import { nodeDisk } from '#src/storage/disk.js';
import { emptyTrash } from '#src/storage/trash.js';
import { contentDirectory, contentPath } from '#src/storage/tree-paths.js';
import { recoverRepository } from '#src/targets/directory/recover.js';
import { repairRepository } from '#src/targets/directory/repair.js';
import { planSweep, sweep } from '#src/targets/directory/sweep.js';
import {
  verifyContent,
  verifyRepository,
  verifyTrash,
} from '#src/targets/directory/verify-tree.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { makeLayout, sha256 } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const ID = 'app' as RepositoryId;

describe('verify and repair', () => {
  let root: string;
  let services: TestServices;

  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk, yaml: 'retention: {grace: 1h}\n' });
    await services.run(prepareInbox, { inbox: services.inbox });
    await publish('1', 'one');
    await publish('2', 'two');
    expect(await problems()).to.deep.equal([]);
  });

  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const publish = async (tag: string, layer: string) => {
    const { digest } = makeLayout(dropPath(root, `app:${tag}`), { layers: ['base', layer] });
    await deliver(services, `app:${tag}`);
    return digest as Digest;
  };
  const web = (...path: string[]) => join(root, 'published', 'web', 'app', ...path);
  const problems = async () => {
    const { roots, run } = services;
    const all = [
      ...(await run(verifyRepository, { roots, id: ID })).findings,
      ...(await run(verifyContent, { roots })).findings,
    ];
    return all.map(({ problem }) => problem);
  };
  const repair = () =>
    services.run(repairRepository, {
      roots: services.roots,
      id: ID,
      owner: services.owner.token,
      redirect: { urlTemplate: services.settings.redirect.url, protected: false },
    });
  const digestOf = (path: string) => sha256(readFileSync(web(path))) as Digest;
  const blobOf = (tag: string) => {
    const manifest = JSON.parse(readFileSync(web('manifests/oci', tag), 'utf8'));
    return manifest.layers[1].digest as Digest;
  };
  const spoil = (path: string) => {
    chmodSync(path, 0o644);
    // Of the same length: nothing but its digest tells.
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill('x'));
  };

  const swap = (path: string, put: (path: string) => void) => {
    rmSync(path);
    put(path);
  };

  const MENDABLE: Record<string, { harm: () => void; finds: string }> = {
    'a missing blob': {
      harm: () => rmSync(web('blobs', blobOf('1'))),
      finds: 'missing',
    },
    'a missing manifest': {
      harm: () => rmSync(web('manifests/oci', digestOf('manifests/oci/2'))),
      finds: 'missing',
    },
    'a damaged tag': { harm: () => spoil(web('manifests/oci/2')), finds: 'damaged' },
    'a damaged tag list': { harm: () => spoil(web('tags/list')), finds: 'damaged' },
    'a damaged redirect file': { harm: () => spoil(web('app.json')), finds: 'damaged' },
    'a redirect file with a missing manifest': {
      harm: () => {
        const document = JSON.parse(readFileSync(web('app.json'), 'utf8'));
        chmodSync(web('app.json'), 0o644);
        const wrong = { ...document, schema2_data: ['none'] };
        writeFileSync(web('app.json'), JSON.stringify(wrong));
      },
      finds: 'damaged',
    },
    'a missing directory': {
      harm: () => rmSync(web('manifests/2'), { recursive: true }),
      finds: 'missing',
    },
    'a blob that is a link': {
      harm: () => swap(web('blobs', blobOf('1')), (path) => symlinkSync('/etc/hostname', path)),
      finds: 'missing',
    },
    'a blob that is a directory': {
      harm: () =>
        swap(web('blobs', blobOf('1')), (path) => mkdirSync(join(path, 'x'), { recursive: true })),
      finds: 'missing',
    },
    'a blob that is a link in the store': {
      harm: () =>
        swap(contentPath(services.roots, blobOf('1')), (path) =>
          symlinkSync('/etc/hostname', path),
        ),
      finds: 'damaged',
    },
    'a tag that a web server cannot read': {
      harm: () => chmodSync(web('manifests/oci/2'), 0o400),
      finds: 'unreadable',
    },
    'a directory that a web server cannot enter': {
      harm: () => chmodSync(web('manifests/oci'), 0o700),
      finds: 'unreadable',
    },
    'a manifest that is damaged in the store, and whose tag has a separate file': {
      harm: () => spoil(contentPath(services.roots, digestOf('manifests/oci/2'))),
      finds: 'damaged',
    },
  };

  for (const [what, { harm, finds }] of Object.entries(MENDABLE)) {
    it(`finds and repairs ${what}`, async () => {
      const before = readRepository(join(root, 'published'), 'app');
      harm();
      expect(await problems()).to.include(finds);
      expect(await repair()).not.to.deep.equal([]);
      expect(await problems()).to.deep.equal([]);
      expect(readRepository(join(root, 'published'), 'app')).to.deep.equal(before);
      expect(await repair(), 'nothing more').to.deep.equal([]);
    });
  }

  it('points a pivot with a missing snapshot to the previous snapshot', async () => {
    const gone = readlinkSync(web());
    rmSync(join(root, 'published/web', gone), { recursive: true });
    expect(await problems()).to.include('missing');
    const [said] = await repair();
    expect(said).to.include(gone.split('/').at(-1));
    expect(Object.keys(readRepository(join(root, 'published'), 'app')?.tags ?? {})).to.deep.equal([
      '1',
    ]);
  });

  it('finds leftovers that were marked for deletion', async () => {
    const { roots, run } = services;
    mkdirSync(join(root, 'state/trash/app@half/blobs'), { recursive: true });
    const find = async (laterMs: number) =>
      (await run(verifyTrash, { roots, nowMs: Date.now() + laterMs })).findings;
    expect(await find(0), 'somebody may be at it').to.deep.equal([]);
    const [found] = await find(120_000);
    expect(found).to.include({ problem: 'leftover', path: 'trash/app@half' });
    expect(await run(emptyTrash, { roots })).to.equal(1);
    expect(await find(120_000)).to.deep.equal([]);
  });

  it('finds a wrong or missing link for Crane; repair restores it', async () => {
    const app = join(root, 'published/app/app.json');
    for (const harm of [() => symlinkSync('elsewhere', app), () => {}]) {
      rmSync(app);
      harm();
      expect(await problems()).to.deep.equal(['wrong-link']);
      const { roots, owner } = services;
      await services.run(recoverRepository, { roots, id: ID, owner: owner.token });
      expect(await problems()).to.deep.equal([]);
    }
  });

  for (const [what, harm] of Object.entries({
    'is gone': (path: string) => rmSync(path),
    'is torn': (path: string) => {
      chmodSync(path, 0o644);
      writeFileSync(path, '{"version":');
    },
  })) {
    it(`reports a snapshot with an unreadable description (${what}), and continues`, async () => {
      harm(web('.snapshot.json'));
      expect(await problems()).to.deep.equal(['unreadable']);
      expect(await repair()).to.deep.equal([]);
      expect(await problems(), 'it is still said').to.deep.equal(['unreadable']);
    });
  }

  it('restores hard links lost in a copy; until then the sweep keeps their content', async () => {
    const { roots, run } = services;
    const copied = (path: string) => {
      renameSync(path, `${path}.old`);
      execFileSync('cp', ['-a', '--no-preserve=links', `${path}.old`, path]);
      rmSync(`${path}.old`, { recursive: true });
    };
    copied(roots.published);
    copied(contentDirectory(roots));
    const store = contentPath(roots, blobOf('1'));
    const isShared = (path: string) => statSync(web(path)).ino === statSync(store).ino;
    expect(isShared(`blobs/${blobOf('1')}`)).to.equal(false);
    const request = { roots, nowMs: Date.now() + 1000, clock: readClock(), graceMs: 0 };
    const plan = await run(planSweep, { ...request, going: [], renewing: [] });
    expect([plan.files, (await run(sweep, request)).files]).to.deep.equal([0, 0]);
    expect(await problems()).to.deep.equal([]);
    const tag = statSync(web('manifests/oci/1')).ino;
    const said = await repair();
    expect(said).to.have.length(2);
    expect(said[1]).to.match(/^linked \d+ files of \d{8}T\S+ to the store again$/);
    expect(isShared(`blobs/${blobOf('1')}`)).to.equal(true);
    expect(statSync(store).nlink).to.equal(3);
    expect(statSync(web('manifests/oci/1')).ino, 'an ETag is of its own').to.equal(tag);
    expect(await repair()).to.deep.equal([]);
    expect((await run(sweep, request)).files).to.equal(0);
    expect(await problems()).to.deep.equal([]);
    // What no snapshot has any more goes, as ever.
    rmSync(join(root, 'published', 'master'), { recursive: true });
    expect((await run(sweep, request)).stays.files).to.equal(0);
  });

  it('keeps unknown entries, and reports them', async () => {
    writeFileSync(web('stranger'), 'x');
    expect(await problems()).to.deep.equal(['foreign']);
    expect(await repair()).to.deep.equal([]);
    expect(readFileSync(web('stranger'), 'utf8')).to.equal('x');
  });

  it('reports content without a good copy; dropping the image again restores it', async () => {
    spoil(contentPath(services.roots, blobOf('2')));
    const [said] = await repair();
    expect(said).to.include('drop the image again');
    expect(await problems()).to.include('damaged');
    await publish('2', 'two');
    await repair();
    expect(await problems()).to.deep.equal([]);
    expect(readRepository(join(root, 'published'), 'app')?.tags).to.have.keys('1', '2');
  });
});
