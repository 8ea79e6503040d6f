import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hasKernelLocks } from '#src/storage/kernel-lock.js';
import { bootId, Owner, OwnerWatch, readBootId } from '#src/storage/owner.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { waitFor } from '../support/wait-for.js';

const OWNER_CHILD = fileURLToPath(new URL('./owner-child.js', import.meta.url));
const SILENCE_MS = 1000;

describe('Owner', () => {
  let directory: string;
  let owner: Owner | undefined;
  let nowMs: number;
  let watch: OwnerWatch;

  beforeEach(() => {
    directory = tempDir();
    nowMs = 0;
    watch = new OwnerWatch(directory, {
      silenceMs: SILENCE_MS,
      monotonicMs: () => nowMs,
      kernel: true,
    });
  });
  afterEach(() => {
    owner?.release();
    owner = undefined;
    removeTempDirs();
  });

  it('has an identifier of letters and digits, and a file of that name with its kernel id', () => {
    owner = new Owner(directory, { heartbeatMs: 60_000, kernel: true });
    expect(owner.token).to.match(/^[a-z0-9]+$/);
    expect(readdirSync(directory)).to.deep.equal([owner.token]);
    expect(readFileSync(join(directory, owner.token), 'utf8').trim()).to.equal(bootId());
    expect(watch.tokens()).to.deep.equal([owner.token]);
  });

  it('is alive until it is released, even without renewals', function () {
    if (!hasKernelLocks) return this.skip();
    owner = new Owner(directory, { heartbeatMs: 60_000, kernel: true });
    expect(watch.isDead(owner.token)).to.equal(false);
    nowMs = SILENCE_MS * 10;
    expect(watch.isDead(owner.token)).to.equal(false);
    const { token } = owner;
    owner.release();
    owner = undefined;
    expect(watch.isDead(token)).to.equal(true);
  });

  it('renews its file for other hosts', async () => {
    owner = new Owner(directory, { heartbeatMs: 5, kernel: true });
    const path = join(directory, owner.token);
    const { mtimeMs } = statSync(path);
    await waitFor('a heartbeat', () => statSync(path).mtimeMs > mtimeMs);
  });

  it('is dead at once when its process is killed', async function () {
    if (!hasKernelLocks) return this.skip();
    const child = spawn(process.execPath, [OWNER_CHILD, directory]);
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const token = String(said).trim();
    expect(watch.isDead(token)).to.equal(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(watch.tokens()).to.deep.equal([token]);
    expect(watch.isDead(token)).to.equal(true);
  });

  it('of another host is dead only when its file was unchanged for long', () => {
    writeFileSync(join(directory, 'p1xaa'), 'another-kernel\n');
    expect(watch.isDead('p1xaa')).to.equal(false);
    nowMs = SILENCE_MS - 1;
    expect(watch.isDead('p1xaa')).to.equal(false);
    nowMs = SILENCE_MS;
    expect(watch.isDead('p1xaa')).to.equal(true);
  });

  it('of another host stays alive with every renewal, whatever time it writes', () => {
    writeFileSync(join(directory, 'p1xaa'), 'another-kernel\n');
    for (const seconds of [1, 4_000_000_000, 2]) {
      utimesSync(join(directory, 'p1xaa'), seconds, seconds);
      expect(watch.isDead('p1xaa'), `${seconds}`).to.equal(false);
      nowMs += SILENCE_MS * 2;
    }
    expect(watch.isDead('p1xaa')).to.equal(true);
  });

  it('is judged by its renewals when kernel locks are unreliable', () => {
    owner = new Owner(directory, { heartbeatMs: 60_000, kernel: false });
    const options = { silenceMs: SILENCE_MS, monotonicMs: () => nowMs, kernel: false };
    const distrustful = new OwnerWatch(directory, options);
    expect(distrustful.isDead(owner.token)).to.equal(false);
    nowMs = SILENCE_MS;
    expect(distrustful.isDead(owner.token)).to.equal(true);
  });

  it('without a kernel id is judged by its renewals', () => {
    const nothing = join(directory, '.none');
    expect(readBootId([nothing])).to.equal('unknown');
    writeFileSync(join(directory, 'p1xaa'), 'unknown\n');
    expect(watch.isDead('p1xaa')).to.equal(false);
    writeFileSync(nothing, 'a1b2\n');
    expect(readBootId(['/nowhere', nothing])).to.contain('a1b2');
  });

  it('is removed when its work is taken over', () => {
    writeFileSync(join(directory, 'p1xaa'), 'another-kernel\n');
    watch.forget(['p1xaa', 'never-there']);
    expect(watch.tokens()).to.deep.equal([]);
    expect(watch.isDead('p1xaa')).to.equal(true);
  });
});
