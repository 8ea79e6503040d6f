import { expect } from 'chai';
import { placesToWatch } from '#src/daemon/places-to-watch.js';

describe('placesToWatch', () => {
  const directory = { path: 'team/app:1', kind: 'directory' } as const;
  const missing = (...paths: string[]) => paths.map((path) => ({ path }));

  it('names an archive itself', () => {
    const archive = { path: 'app:1.tar.gz', kind: 'file' } as const;
    expect(placesToWatch(archive, missing('its end'))).to.deep.equal(['app:1.tar.gz']);
  });

  it('names a directory, and where in it files are missing, each once', () => {
    const given = missing('index.json', 'blobs/sha256/aa', 'blobs/sha256/bb', 'blobs/sha512/cc');
    expect(placesToWatch(directory, given)).to.deep.equal([
      'team/app:1',
      'team/app:1/blobs/sha256',
      'team/app:1/blobs/sha512',
    ]);
  });

  it('names nothing outside the drop, and not very much', () => {
    expect(placesToWatch(directory, missing('../other/x', '../../x'))).to.have.length(1);
    const many = Array.from({ length: 500 }, (_, at) => `layer${at}/layer.tar`);
    expect(placesToWatch(directory, missing(...many))).to.have.length(20);
  });
});
