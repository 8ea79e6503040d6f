/**
 * Goal: archives with the peculiarities of real tools are published with exactly their content, or
 * rejected with a clear reason. Method: each tool packs a layout; the served content is compared with it.
 * The timeouts of the daemon are disabled, so that every receipt is immediate.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { TestContent } from '../support/make-image.js';
import { readRepository } from '../support/outside-reader.js';
import { receipts, testDaemon } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { hasTools, needTools } from '../support/tools.js';
import { waitFor } from '../support/wait-for.js';

describe('archives with the peculiarities of real tools', function () {
  this.timeout(120_000);
  let work: string;
  let root: string;
  let daemon: Awaited<ReturnType<typeof testDaemon>>;
  let content: TestContent;

  const run = (command: string) => execFileSync('bash', ['-ec', command], { cwd: work });

  before(async function () {
    needTools(this, 'tar', 'bash');
    work = tempDir();
    content = new TestContent();
    // Several MiB, so that tools cut it into several blocks and frames; and a file with a hole.
    const image = content.image({ layers: ['one', randomText(1_500_000)] });
    content.writeLayout(join(work, 'layout'), [{ image, tag: '1' }]);
    const appleDouble = Buffer.from('\0\x05\x16\x07\0\x02\0\0Mac OS X        ', 'latin1');
    mkdirSync(join(work, 'mac'));
    run('cp -r layout mac/app');
    for (const name of ['._app', 'app/._index.json', 'app/blobs/._sha256']) {
      writeFileSync(join(work, 'mac', name), appleDouble);
    }
    run('mkdir holes && cp -r layout holes/app && truncate -s 4M holes/app/notes');
    root = tempDir();
    daemon = await testDaemon(root, {
      yaml: 'settle: {quiet: 50ms, timeout: 10m}\ninbox: {scan: 10m}\n',
    });
  });
  after(async () => {
    await daemon?.stop();
    removeTempDirs();
  });

  const packed: readonly (readonly [string, string, string])[] = [
    ['pzstd', 'tar', 'tar -C layout -cf - . | pzstd -q -c >'],
    ['zstd', 'tar', 'tar -C layout -cf - . | zstd -q --long=27 -c >'],
    ['xz', 'tar', 'tar -C layout -cf - . | xz -0 -T2 --block-size=1MiB >'],
    ['xz', 'tar', 'tar -C layout -cf - . | xz -9 >'],
    ['tar', 'bash', "tar -V '/some label' -C layout -c . >"],
    ['tar', 'bash', "tar -V 'some label' --format=pax -C layout -c . >"],
    ['tar', 'bash', 'tar -c layout --transform=s,^,deep/down/, >'],
    ['bsdtar', 'tar', 'bsdtar -C mac -cf - ._app app >'],
    ['bsdtar', 'tar', 'bsdtar -C mac/app --format=pax -czf - . >'],
  ];
  const refused: readonly (readonly [string, string, string, RegExp])[] = [
    [
      'tar',
      'bash',
      'tar --sparse --format=pax -C holes -c app >',
      /app\/notes is stored as a sparse/,
    ],
    [
      'tar',
      'bash',
      'tar --sparse --format=gnu -C holes -cz app >',
      /app\/notes is stored as a sparse/,
    ],
    ['bsdtar', 'tar', 'bsdtar -C holes -cf - app >', /app\/notes is stored as a sparse/],
    ['bzip2', 'tar', 'tar -C layout -c . | bzip2 >', /bzip2 is not supported, use gzip or zstd/],
    ['lzip', 'tar', 'tar -C layout -c . | lzip >', /lzip is not supported, use gzip or zstd/],
    ['xz', 'tar', 'tar -C layout -c . | xz --format=lzma >', /lzma is not supported/],
    ['xz', 'tar', 'tar -C layout -c . | xz --check=sha256 >', /xz archive uses .* not supported/],
    [
      'xz',
      'tar',
      'tar -C layout -c . | xz --lzma2=dict=256MiB >',
      /dictionary of more than 64 MiB/,
    ],
  ];

  async function drop(command: string, name: string) {
    run(
      `${command} ${join(root, 'aside')} && mv ${join(root, 'aside')} ${join(root, 'inbox', name)}`,
    );
    return waitFor(name, () => receipts(root).find((each) => each.drop === name), 60_000);
  }

  for (const [at, [tool, other, command]] of packed.entries()) {
    it(`publishes the output of ${command}`, async function () {
      needTools(this, tool, other);
      const receipt = await drop(command, `packed${at}:1.tar`);
      expect(receipt.status, receipt.message).to.equal('published');
      const seen = readRepository(join(root, 'published'), `packed${at}`);
      expect([...content.blobs.keys()].every((digest) => seen?.digests.has(digest))).to.equal(true);
    });
  }

  for (const [at, [tool, other, command, says]] of refused.entries()) {
    it(`rejects the output of ${command}, and says why`, async function () {
      needTools(this, tool, other);
      const receipt = await drop(command, `refused${at}:1.tar`);
      expect(receipt.status).to.equal('rejected');
      expect(receipt.message).to.match(says);
    });
  }

  it('rejects the output of podman export', async function () {
    if (!hasTools('podman')) needTools(this, 'podman');
    const store = `podman --root ${work}/store --runroot ${work}/run --storage-driver vfs`;
    run(`mkdir -p tree/bin tree/etc tree/usr && echo x >tree/bin/x && tar -C tree -c . >tree.tar`);
    run(`${store} import -q tree.tar local/x:1 && ${store} create --name x local/x:1 /bin/x`);
    const receipt = await drop(`${store} export x >`, 'exported:1.tar');
    expect(receipt.message).to.match(/docker export.*Use docker save/);
  });
});

/** Hardly compressible, and the same each time. */
function randomText(length: number): string {
  let state = 12_345;
  let text = '';
  while (text.length < length) {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    text += state.toString(36);
  }
  return text;
}
