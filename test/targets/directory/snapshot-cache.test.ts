/** The cached snapshot of a thread equals its file, and is never that of another snapshot. */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseRepositoryId } from '#src/image/names.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import { readPivot, readSnapshot } from '#src/targets/directory/pivot.js';
import { recallSnapshot, rememberSnapshot } from '#src/targets/directory/snapshot-cache.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { TestContent } from '../../support/make-image.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const ID = parseRepositoryId('app');

describe('the snapshot cache of a thread', () => {
  let root: string;
  let services: TestServices;
  beforeEach(async () => {
    root = tempDir();
    services = await testServices(root, { disk: nodeDisk });
    await services.run(prepareInbox, { inbox: services.inbox });
  });
  afterEach(async () => {
    await services.close();
    removeTempDirs();
  });

  const current = () => {
    const name = readPivot(nodeDisk, services.roots, ID);
    if (name === null) throw new Error('nothing is published');
    return name;
  };
  const publish = async (...tags: string[]) => {
    const content = new TestContent();
    const image = content.image({ layers: tags });
    const subject = content.index([image]);
    const signature = content.image({ layers: ['signature'], subject, annotations: { a: 'b' } });
    const roots = [...tags.map((tag) => ({ image: subject, tag })), { image: signature }];
    content.writeLayout(dropPath(root, 'app'), roots);
    await deliver(services, 'app');
  };

  it('matches the snapshot file in every part', async () => {
    await publish('1', '10', '9', '__proto__');
    await publish('2', '1');
    const { roots } = services;
    const remembered = recallSnapshot(nodeDisk, roots, ID, current());
    const read = readSnapshot(nodeDisk, roots, ID, current());
    expect(remembered).to.not.equal(read);
    expect({ ...remembered, state: 0 }).to.deep.equal({ ...read, state: 0 });
    for (const part of ['tags', 'untagged', 'manifests', 'carried', 'conversions'] as const) {
      const entries = (state: typeof read.state) =>
        [...state[part]].sort(([a], [b]) => (a < b ? -1 : 1));
      expect(entries(remembered.state), part).to.deep.equal(entries(read.state));
    }
    expect(recallSnapshot(nodeDisk, roots, ID, current())).to.equal(remembered);
  });

  it('is not used for another snapshot under the same name', async () => {
    await publish('1');
    const { roots } = services;
    const name = current();
    const stored = readSnapshot(nodeDisk, roots, ID, name);
    rememberSnapshot(nodeDisk, roots, ID, { ...stored, freshTime: 1 });
    expect(recallSnapshot(nodeDisk, roots, ID, name).freshTime).to.equal(1);
    const home = join(root, 'published', 'master', 'app', name);
    cpSync(home, `${home}.copy`, { recursive: true, preserveTimestamps: true });
    rmSync(home, { recursive: true });
    nodeDisk.rename(`${home}.copy`, home);
    expect(recallSnapshot(nodeDisk, roots, ID, name)).to.deep.equal(stored);
  });

  it('is invalid when the file is gone', async () => {
    await publish('1');
    const name = current();
    rmSync(join(root, 'published', 'master', 'app', name, '.snapshot.json'));
    expect(() => recallSnapshot(nodeDisk, services.roots, ID, name)).to.throw('ENOENT');
  });
});
