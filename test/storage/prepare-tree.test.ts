import { mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { prepareTree } from '#src/storage/prepare-tree.js';
import { allDirectories } from '#src/storage/tree-paths.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('preparing the tree', () => {
  after(removeTempDirs);

  it('removes a probe left by a process killed long ago, and keeps a recent one', () => {
    const root = tempDir();
    const roots = { published: join(root, 'published'), state: join(root, 'state') };
    const places = [join(roots.published, 'master'), join(roots.state, 'work')];
    for (const place of places) {
      mkdirSync(place, { recursive: true });
      for (const name of ['.probe-old', '.probe-now', 'app']) writeFileSync(join(place, name), '');
      const longAgo = Date.now() / 1000 - 3600;
      for (const name of ['.probe-old', 'app']) utimesSync(join(place, name), longAgo, longAgo);
    }
    prepareTree(nodeDisk, { roots, directories: allDirectories(roots) });
    for (const place of places) expect(readdirSync(place)).to.deep.equal(['.probe-now', 'app']);
  });

  it('creates nothing when the mount marker is missing', () => {
    const root = tempDir();
    const roots = { published: join(root, 'published'), state: join(root, 'state') };
    const markers = [join(root, 'mounted')];
    const request = { roots, directories: allDirectories(roots), markers };
    expect(refusal(() => prepareTree(nodeDisk, request)).code).to.equal('layout.unsafe');
    expect(readdirSync(root)).to.deep.equal([]);
    writeFileSync(join(root, 'mounted'), '');
    prepareTree(nodeDisk, request);
    expect(readdirSync(root)).to.include('published');
  });
});
