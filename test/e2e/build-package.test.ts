/** What `npm run package` says when it cannot work. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const BUILD = fileURLToPath(new URL('../../systemd/debian/build', import.meta.url));

describe('npm run package', () => {
  after(removeTempDirs);

  it('says in one line which programs are missing, before it does anything', () => {
    const bin = join(tempDir(), 'bin');
    mkdirSync(bin);
    for (const name of ['dirname', 'gzip', 'md5sum', 'sed', 'find', 'xargs', 'install', 'du']) {
      symlinkSync(`/usr/bin/${name}`, join(bin, name));
    }
    for (const name of ['node', 'npm']) symlinkSync(process.execPath, join(bin, name));
    const env = { ...process.env, PATH: bin };
    const { status, stderr, stdout } = spawnSync('/bin/bash', [BUILD], { env, encoding: 'utf8' });
    expect(status).to.equal(1);
    expect(stdout).to.equal('');
    expect(stderr).to.match(
      /^cannot build the package: this machine has no dpkg dpkg-deb \(on Debian: .*\)\n$/,
    );
  });
});
