/** Content that many clients request at once, right after a flip, is read once. */
import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { parseRepositoryId, type Tag } from '#src/image/names.js';
import { DirectorySource } from '#src/targets/directory/directory-source.js';
import { TestContent } from '../../support/make-image.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { TestRegistry } from '../../support/test-registry.js';

describe('a snapshot that is read', () => {
  let registry: TestRegistry;
  before(async () => {
    registry = await TestRegistry.open(tempDir());
    const content = new TestContent();
    await registry.drop('app', content, [{ image: content.image(), tag: '1' }]);
  });
  after(async () => {
    await registry.close();
    removeTempDirs();
  });

  const open = async (rememberBytes: number) => {
    const { roots, run } = registry.services;
    const snapshots = new DirectorySource({ roots, run, rememberBytes });
    const reader = await snapshots.current(parseRepositoryId('app'));
    if (reader === undefined) throw new Error('no snapshot');
    return reader;
  };

  it('is read once for all concurrent requests, and cached for later ones', async () => {
    const reader = await open(1_000_000);
    const asked = Array.from({ length: 50 }, () => reader.tagsList());
    const lists = new Set(await Promise.all([...asked, reader.tagsList()]));
    expect(lists.size).to.equal(1);
    expect(await reader.tagsList()).to.equal([...lists][0]);
  });

  it('is read again if it did not fit into the cache, or was missing', async () => {
    const reader = await open(1);
    expect(await reader.tagsList()).to.not.equal(await reader.tagsList());
    expect(await reader.manifests('2' as Tag)).to.deep.equal([]);
    rmSync(registry.web('app', 'tags', 'list'));
    expect(await reader.tagsList()).to.equal(undefined);
  });
});
