import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { ingestBytes } from '#src/storage/into-store.js';
import { interfereWith, systemError } from '../support/faulty-disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('ingestBytes', () => {
  const bytes = Buffer.from('{"schemaVersion":2}');
  let destination: string;
  let place: string;

  beforeEach(() => {
    const root = tempDir();
    destination = join(root, 'content', 'sha256', '12', '1234');
    place = join(root, 'work');
    mkdirSync(place);
  });
  afterEach(removeTempDirs);

  it('stores the bytes read-only, once', () => {
    expect(ingestBytes(nodeDisk, bytes, destination, place)).to.equal('copied');
    expect(readFileSync(destination).equals(bytes)).to.equal(true);
    expect(statSync(destination).mode & 0o7777).to.equal(0o444);
    expect(ingestBytes(nodeDisk, bytes, destination, place)).to.equal('present');
    expect(readdirSync(place)).to.deep.equal([]);
  });

  it('replaces a stored blob whose length shows damage', () => {
    mkdirSync(dirname(destination), { recursive: true });
    writeFileSync(destination, 'torn');
    expect(ingestBytes(nodeDisk, bytes, destination, place)).to.equal('copied');
    expect(readFileSync(destination).equals(bytes)).to.equal(true);
  });

  for (const verb of ['write', 'sync', 'rename'] as const) {
    it(`leaves nothing behind when ${verb} fails`, () => {
      const disk = interfereWith(nodeDisk, (operation) => {
        if (operation.verb === verb && readdirSync(place).length > 0)
          throw systemError('EIO', operation);
      });
      expect(() => ingestBytes(disk, bytes, destination, place)).to.throw('EIO');
      expect(readdirSync(place)).to.deep.equal([]);
      expect(existsSync(destination)).to.equal(false);
    });
  }
});
