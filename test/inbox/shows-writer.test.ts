import { expect } from 'chai';
import { showsWriter } from '#src/inbox/signature.js';

describe('showsWriter', () => {
  const writing: readonly (readonly [string, string, string])[] = [
    ['skopeo, oci:', '', 'oci-put-blob1842'],
    ['skopeo, dir:', '', 'dir-put-blob1842'],
    ['umoci', '', '.umoci-12ab'],
    ['BuildKit', '', 'index.json.lock'],
    ['containerd', 'ingest/', '5a0f'],
    ['containerd', 'ingest/5a0f/', 'data'],
    ['rsync', 'blobs/sha256/', '.5a0f.Xy12Zq'],
    ['rsync', '', '.index.json.aBcdef'],
    ['rsync --delay-updates', 'blobs/', '.~tmp~'],
    ['rsync --partial-dir', '', '.rsync-partial'],
    ['Syncthing', '', '.syncthing.index.json.tmp'],
    ['Firefox, Nextcloud', '', 'index.json.part'],
    ['rclone', '', 'index.json.5a0f12ab.partial'],
    ['WinSCP', '', 'index.json.filepart'],
    ['Chrome', '', 'index.json.crdownload'],
    ['aria2', '', 'index.json.aria2'],
  ];
  for (const [tool, below, name] of writing) {
    it(`recognises ${below}${name} of ${tool}`, () => {
      expect(showsWriter(below, name)).to.equal(true);
    });
  }

  const stray: readonly (readonly [string, string])[] = [
    ['', 'ingest'],
    ['ingest/', '.keep'],
    ['', '.DS_Store'],
    ['', '._index.json'],
    ['blobs/sha256/', '._5a0f'],
    ['', '.stamp_built'],
    ['', '.stamp_extracted.1'],
    ['', '.gitkeep'],
    ['', '.directory.backup'],
    ['', 'index.json~'],
    ['', 'build.lock'],
    ['', 'Thumbs.db'],
    ['', 'README'],
    ['', 'index.json'],
    ['blobs/sha256/', '5a0f'],
  ];
  for (const [below, name] of stray) {
    it(`does not treat ${below}${name} as a sign of a writer`, () => {
      expect(showsWriter(below, name)).to.equal(false);
    });
  }
});
