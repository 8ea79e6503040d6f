import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { recogniseDirectory, savedDirectories } from '#src/formats/format.js';
import { timeOfNew } from '#src/inbox/filesystem-time.js';
import { scanInbox } from '#src/inbox/scan.js';
import { signatureOf } from '#src/inbox/signature.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

describe('scanInbox', () => {
  let inbox: string;
  beforeEach(() => {
    inbox = tempDir();
  });
  afterEach(removeTempDirs);

  /** Makes files; a path that ends in a slash is a directory. */
  const make = (...paths: string[]) => {
    for (const path of paths) {
      mkdirSync(join(inbox, path.endsWith('/') ? path : dirname(path)), { recursive: true });
      if (!path.endsWith('/')) writeFileSync(join(inbox, path), '');
    }
  };
  const scan = ({ disk = nodeDisk, marker }: { disk?: Disk; marker?: string } = {}) =>
    scanInbox(
      disk,
      { inbox, marker },
      (entries) => recogniseDirectory(entries) !== undefined,
      savedDirectories,
    );
  const drops = () => scan().drops.map(({ path }) => path);

  it('reads the inbox time only on request and if there are drops', () => {
    const timed = () =>
      scanInbox(nodeDisk, { inbox, marker: undefined, clock: 'p1' }, () => false).filesystemMs;
    make('empty/');
    expect(timed()).to.equal(undefined);
    make('app.tar');
    expect(scan().filesystemMs).to.equal(undefined);
    expect(timed()).to.be.at.least(nodeDisk.stat(join(inbox, 'app.tar')).ctimeMs);
  });

  it('finds drops in the inbox and in namespaces, and reports where more may appear', () => {
    make('app:1.0/index.json', 'team/app/oci-layout', 'team/sub/other/version', 'empty/');
    const { drops: found, directories, ignored } = scan();
    expect(found.map(({ path }) => path)).to.have.members([
      'app:1.0',
      'team/app',
      'team/sub/other',
    ]);
    expect(directories).to.have.members(['', 'team', 'team/sub', 'empty']);
    expect(ignored).to.deep.equal([]);
  });

  const certain: readonly [string, string, boolean][] = [
    ['a started layout', 'app/oci-layout', true],
    ['a started skopeo dir:', 'app/version', true],
    ['blobs that arrived first', 'app/blobs/sha256/', false],
    ['an empty blobs directory', 'app/blobs/', false],
    ['temporary files of skopeo', 'app/oci-put-blob123', false],
    ['containerd’s layout', 'app/ingest/', false],
  ];
  for (const [what, path, isCertain] of certain) {
    it(`treats ${what} as a drop${isCertain ? '' : ', perhaps'}`, () => {
      make(path);
      expect(scan().drops).to.have.length(1);
      expect(scan().drops[0]).to.include({ path: 'app', isCertain });
    });
  }

  describe('treats an unpacked docker-archive', () => {
    const hex = (digit: string) => digit.repeat(64);
    const LEGACY = ['layer.tar', 'json', 'VERSION'];
    const saveManifest = (...layers: string[]) =>
      writeFileSync(
        join(inbox, 'app/manifest.json'),
        JSON.stringify([{ Config: `${hex('c')}.json`, RepoTags: null, Layers: layers }]),
      );

    it('as one drop, with one directory per layer', () => {
      make(`app/${hex('c')}.json`, ...LEGACY.map((name) => `app/${hex('a')}/${name}`));
      saveManifest(`${hex('a')}/layer.tar`);
      expect(drops()).to.deep.equal(['app']);
      expect(scan().drops[0]?.isCertain).to.equal(true);
    });

    it('as one drop, whatever its layer directories are called', () => {
      make('app/layers/1.tar', 'app/base/layer.tar', 'app/blobs/sha256/', 'app/layers/more/2.tar');
      saveManifest('layers/1.tar', './base/layer.tar', 'blobs/sha256/x');
      expect(drops()).to.deep.equal(['app']);
      expect(scan().ignored).to.deep.equal([]);
    });

    it('separately from directories it does not name', () => {
      make(`app/${hex('a')}/layer.tar`, 'app/layers/1.tar', 'app/team/other/index.json');
      saveManifest('layers/1.tar', `${hex('a')}/layer.tar`);
      expect(drops()).to.deep.equal(['app/team/other']);
      expect(scan().ignored.map(({ path }) => path)).to.deep.equal(['app']);
      for (const text of ['[{', '{"layers": []}', '[null, {"Layers": [1]}]']) {
        writeFileSync(join(inbox, 'app/manifest.json'), text);
        expect(
          scan().drops.some(({ path }) => path === 'app'),
          text,
        ).to.equal(false);
      }
    });

    const begun: readonly [string, string[]][] = [
      ['a layer', [`app/${hex('a')}.tar`]],
      ['layers as crane writes them', [`app/sha256:${hex('c')}`, `app/${hex('a')}.tar.gz`]],
      ['the blobs of skopeo’s dir:', [`app/${hex('a')}`, `app/${hex('b')}.manifest.json`]],
      ['a config and a layer', [`app/${hex('c')}.json`, `app/${hex('a')}/layer.tar`]],
      ['a directory of a layer', [`app/${hex('a')}/`]],
      ['all but its manifest.json', [`app/${hex('a')}/json`, 'app/repositories']],
    ];
    for (const [what, paths] of begun) {
      it(`as a possible drop when only ${what} is present`, () => {
        make(...paths);
        const found = scan().drops.map(({ path, isCertain }) => [path, isCertain]);
        expect(found).to.deep.equal([['app', false]]);
      });
    }

    it('as no drop when other drops have such names', () => {
      make(`team/${hex('a')}.tar`, 'team/app:1.tar', `other/${hex('b')}/app:1/index.json`);
      expect(drops()).to.have.members([
        `team/${hex('a')}.tar`,
        'team/app:1.tar',
        `other/${hex('b')}/app:1`,
      ]);
    });
  });

  it('treats directories with a port or a tag in their name as namespaces of drops', () => {
    make('registry:5000/team/app:1.0/version');
    expect(drops()).to.deep.equal(['registry:5000/team/app:1.0']);
  });

  it('treats a directory named host:port as a namespace when it is empty or holds archives', () => {
    make('registry:5000/', 'reg=5001/app:1.tar', 'reg=5001/.b.tar.Xy1', 'reg=5001/b.tar.gz');
    const { drops: found, directories } = scan();
    expect(found.map(({ path }) => path)).to.deep.equal([
      'reg=5001/app:1.tar',
      'reg=5001/b.tar.gz',
    ]);
    expect(directories).to.have.members(['', 'registry:5000', 'reg=5001']);
  });

  it('treats a directory named by a number as a drop when a tool has started to write one', () => {
    make(`app:1/${'a'.repeat(64)}`, `app:2/${'a'.repeat(64)}.tar`, 'app:3/README');
    expect(drops()).to.have.members(['app:1', 'app:2', 'app:3']);
    expect(scan().drops.every(({ isCertain }) => isCertain)).to.equal(true);
  });

  it('treats a repository named blobs as a namespace', () => {
    make('team/blobs/app/index.json');
    expect(drops()).to.deep.equal(['team/blobs/app']);
  });

  for (const name of ['.hidden', 'app.part', 'app.tmp', 'app~', 'app.lock', 'app.filepart']) {
    it(`ignores ${name} without a log line`, () => {
      make(`${name}/index.json`);
      expect(scan()).to.deep.equal({ drops: [], directories: [''], ignored: [], left: [] });
    });
  }

  it('reports unknown entries with the reason', () => {
    make('team/app/index.json');
    symlinkSync('team', join(inbox, 'link'));
    execFileSync('mkfifo', [join(inbox, 'fifo')]);
    const reasons = Object.fromEntries(scan().ignored.map(({ path, reason }) => [path, reason]));
    expect(reasons).to.have.keys('link', 'fifo');
    expect(reasons.link).to.include('link');
    expect(reasons.fifo).to.include('special');
    expect(drops()).to.deep.equal(['team/app']);
  });

  it('treats every single file as an archive until its content shows otherwise', () => {
    make('app:1.0.tar', 'team/README');
    const files = scan().drops.map(({ path, kind, isCertain }) => [path, kind, isCertain]);
    expect(files).to.have.deep.members([
      ['app:1.0.tar', 'file', true],
      ['team/README', 'file', true],
    ]);
  });

  it('stops in a tree that is nested too deeply, and names it', () => {
    make(`${'d/'.repeat(30)}`);
    const { ignored, directories } = scan();
    expect(ignored.map(({ reason }) => reason)).to.deep.equal([
      'directories are nested too deeply',
    ]);
    expect(directories.length).to.be.lessThan(20);
  });

  it('reports an unreadable directory, and continues', () => {
    make('closed/app/index.json', 'open/index.json');
    const disk = interfereWith(nodeDisk, (operation) => {
      const { verb, paths } = operation;
      if (verb === 'open' && paths.includes('closed')) throw systemError('EACCES', operation);
    });
    const { drops: found, ignored } = scan({ disk });
    expect(found.map(({ path }) => path)).to.deep.equal(['open']);
    expect(ignored.map(({ path }) => path)).to.deep.equal(['closed']);
  });

  it('propagates a disk error', () => {
    const disk = interfereWith(nodeDisk, (operation) => {
      if (operation.verb === 'list') throw systemError('EIO', operation);
    });
    expect(() => scan({ disk })).to.throw('EIO');
  });

  it('continues when a drop is removed during the scan', () => {
    make('app/index.json', 'app/blobs/sha256/aa');
    let gone = false;
    const disk = interfereWith(nodeDisk, ({ verb, paths }) => {
      if (verb !== 'open' || !paths.includes('/app ') || gone) return;
      gone = true;
      rmSync(join(inbox, 'app'), { recursive: true });
    });
    scan({ disk });
    expect(gone).to.equal(true);
    expect(drops()).to.deep.equal([]);
  });

  it('reports whether a drop has its marker file, which is not an unknown entry then', () => {
    make('one/index.json', 'two/index.json', 'two.done', 'lost.done');
    const { drops: found } = scan({ marker: '.done' });
    const marked = Object.fromEntries(found.map(({ path, isMarked }) => [path, isMarked]));
    expect(marked).to.deep.equal({ one: false, two: true, 'lost.done': false });
    expect(scan().drops.every(({ isMarked }) => isMarked)).to.equal(true);
  });
});

describe('signatureOf', () => {
  let drop: string;
  const at = (name: string) => join(drop, name);
  const sign = () => signatureOf(nodeDisk, drop).signature;

  beforeEach(() => {
    drop = join(tempDir(), 'drop');
    mkdirSync(join(drop, 'blobs'), { recursive: true });
    writeFileSync(at('index.json'), 'text');
    writeFileSync(at('blobs/aa'), 'text');
  });
  afterEach(removeTempDirs);

  it('stays the same while nothing changes, and when the drop is renamed', () => {
    const before = sign();
    expect(sign()).to.equal(before);
    const moved = join(tempDir(), 'elsewhere');
    renameSync(drop, moved);
    expect(signatureOf(nodeDisk, moved).signature).to.equal(before);
  });

  const changes: readonly [string, () => void][] = [
    ['a file grows', () => writeFileSync(at('blobs/aa'), 'text and more')],
    ['a file is rewritten with equal length', () => writeFileSync(at('blobs/aa'), 'TEXT')],
    ['a file is written and given its old time', () => touchBack()],
    ['a file is added', () => writeFileSync(at('blobs/bb'), '')],
    ['a file is removed', () => rmSync(at('blobs/aa'))],
    ['a directory is added', () => mkdirSync(at('blobs/new'))],
    ['a permission changes', () => chmodSync(at('blobs/aa'), 0o600)],
    ['a file is replaced', () => replace()],
  ];
  const touchBack = () => {
    writeFileSync(at('blobs/aa'), 'TEXT');
    utimesSync(at('blobs/aa'), 1, 1);
  };
  const replace = () => {
    writeFileSync(at('new'), 'text');
    renameSync(at('new'), at('blobs/aa'));
  };
  for (const [what, change] of changes) {
    it(`changes when ${what}`, async () => {
      const before = sign();
      // The filesystem's clock may stand for a few milliseconds.
      const start = timeOfNew(nodeDisk, `${drop}-clock`);
      await waitFor('the next tick', () => timeOfNew(nodeDisk, `${drop}-clock`) > start);
      change();
      expect(sign()).not.to.equal(before);
    });
  }

  it('uses change times of the filesystem’s clock, not modification times', () => {
    const start = timeOfNew(nodeDisk, `${drop}-clock`);
    writeFileSync(at('blobs/bb'), '');
    utimesSync(at('blobs/bb'), 4_000_000_000, 4_000_000_000);
    const { newestMs } = signatureOf(nodeDisk, drop);
    expect(newestMs).to.be.within(start, timeOfNew(nodeDisk, `${drop}-clock`));
  });

  it('reports signs that a tool is still writing', () => {
    expect(signatureOf(nodeDisk, drop).busy).to.equal(undefined);
    writeFileSync(at('blobs/.aa.Xy12Zq'), '');
    expect(signatureOf(nodeDisk, drop).busy).to.equal('blobs/.aa.Xy12Zq');
  });

  it('ignores an empty ingest directory and stray files, but not files in ingest', () => {
    mkdirSync(at('ingest'));
    for (const name of ['.DS_Store', 'blobs/._aa', '.stamp_built']) writeFileSync(at(name), '');
    expect(signatureOf(nodeDisk, drop).busy).to.equal(undefined);
    writeFileSync(at('ingest/5a0f'), '');
    expect(signatureOf(nodeDisk, drop).busy).to.equal('ingest/5a0f');
  });

  it('does not follow links', () => {
    symlinkSync('/', at('blobs/root'));
    // The root has thousands of directories; not one of them is opened.
    let opened = 0;
    const disk = interfereWith(nodeDisk, ({ verb }) => {
      if (verb === 'open') opened++;
    });
    signatureOf(disk, drop);
    expect(opened).to.equal(2);
  });

  it('leaves no clock probe file behind', () => {
    const probe = `${drop}-clock`;
    timeOfNew(nodeDisk, probe);
    writeFileSync(probe, 'left behind');
    expect(timeOfNew(nodeDisk, probe)).to.be.a('number');
    expect(() => rmSync(probe)).to.throw('ENOENT');
  });
});
