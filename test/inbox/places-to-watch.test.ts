import { expect } from 'chai';
import { placesToWatch } from '#src/inbox/watch.js';

describe('placesToWatch', () => {
  const directory = { path: 'team/app:1', kind: 'directory' } as const;
  const missing = (...paths: string[]) => paths.map((path) => ({ path }));

  it('returns the archive itself', () => {
    const archive = { path: 'app:1.tar.gz', kind: 'file' } as const;
    expect(placesToWatch(archive, missing('its end'))).to.deep.equal(['app:1.tar.gz']);
  });

  it('returns a directory, and each place in it where files are missing, once', () => {
    const given = missing('index.json', 'blobs/sha256/aa', 'blobs/sha256/bb', 'blobs/sha512/cc');
    expect(placesToWatch(directory, given)).to.deep.equal([
      'team/app:1',
      'team/app:1/blobs/sha256',
      'team/app:1/blobs/sha512',
    ]);
  });

  it('returns no path outside the drop, and a bounded number of paths', () => {
    expect(placesToWatch(directory, missing('../other/x', '../../x'))).to.have.length(1);
    const many = Array.from({ length: 500 }, (_, at) => `layer${at}/layer.tar`);
    expect(placesToWatch(directory, missing(...many))).to.have.length(20);
  });
});
