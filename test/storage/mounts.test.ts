import { expect } from 'chai';
import { findMount, mountOf, remembersNames } from '#src/storage/mounts.js';

const NFS = '50 22 0:44 / /srv/images rw,relatime shared:9 - nfs4 nas:/images';
const MOUNTS = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
${NFS} rw,vers=4.2,hard,lookupcache=pos,addr=10.0.0.1
51 22 0:45 / /srv/with\\040space rw master:3 - ceph mon:/ rw,name=me
`;

describe('the mount of a path', () => {
  it('is the nearest above it', () => {
    expect(findMount(MOUNTS, '/srv/images/state')?.type).to.equal('nfs4');
    expect(findMount(MOUNTS, '/srv/images')?.type).to.equal('nfs4');
    expect(findMount(MOUNTS, '/srv/images2')?.type).to.equal('ext4');
    expect(findMount(MOUNTS, '/srv/with space/x')).to.deep.equal({
      type: 'ceph',
      options: ['rw', 'rw', 'name=me'],
    });
    expect(findMount('', '/')).to.equal(undefined);
  });

  it('is the last of several mounts on the same directory', () => {
    const over = `${MOUNTS}60 50 0:50 / /srv/images rw - tmpfs tmpfs rw\n`;
    expect(findMount(over, '/srv/images/state')?.type).to.equal('tmpfs');
  });

  it('caches names only over NFS, unless that is disabled', () => {
    const of = (options: string) => findMount(`${NFS} ${options}\n`, '/srv/images');
    const remembers = (options: string) => remembersNames(of(options) as never);
    expect(remembers('rw,hard')).to.equal(true);
    expect(remembers('rw,hard,lookupcache=pos')).to.equal(true);
    expect(remembers('rw,hard,lookupcache=none')).to.equal(false);
    expect(remembers('rw,hard,noac')).to.equal(false);
    expect(remembersNames({ type: 'ceph', options: [] })).to.equal(false);
  });

  it('is read from the kernel', () => {
    // It is there wherever this runs. In a chroot the root itself may be no mount, and nothing is told of it.
    expect(mountOf('/proc/self/fd')?.type).to.equal('proc');
    expect(mountOf('/nowhere/at/all')).to.equal(undefined);
  });
});
