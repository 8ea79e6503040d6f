/** I7: publishers of one repository lose no tag, even when one is paused past its lock timeout. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { dropdock } from '../../support/daemon-process.js';
import { makeLayout } from '../../support/make-image.js';
import { readRepository } from '../../support/outside-reader.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const PAUSES = fileURLToPath(new URL('./pause-before-flip.js', import.meta.url));

describe('publishers of one repository', function () {
  this.timeout(60_000);
  afterEach(removeTempDirs);

  it('lose no tag when one is paused right before its flip past the lock timeout', async () => {
    const root = tempDir();
    mkdirSync(join(root, 'inbox'));
    makeLayout(join(root, 'inbox/app:paused'), { layers: ['paused'] });
    const paused = spawn(process.execPath, [PAUSES, root, 'app:paused'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(paused.stdout, 'data');
    await stopped(paused);
    makeLayout(join(root, 'other'), { layers: ['other'], tag: 'other' });
    // On one host the kernel's lock outlives the stale time: the other one is told to wait.
    await delay(2500);
    const busy = await dropdock('publish', join(root, 'other'), '--as', 'app', '--root', root);
    expect(busy.code, busy.stderr).to.equal(75);
    paused.kill('SIGCONT');
    await once(paused, 'exit');
    expect(paused.exitCode).to.equal(0);
    const done = await dropdock('publish', join(root, 'other'), '--as', 'app', '--root', root);
    expect(done.code, done.stderr).to.equal(0);
    expect(readRepository(join(root, 'published'), 'app')?.tags).to.have.keys('paused', 'other');
    const snapshots = readdirSync(join(root, 'published/master/app'));
    expect(snapshots).to.have.length(2);
  });

  it('lose no tag when eight publish at once', async () => {
    const root = tempDir();
    const tags = Array.from({ length: 8 }, (_, n) => `t${n}`);
    // On a busy machine the eighth may have to wait for long.
    const config = join(root, 'dropdock.yaml');
    writeFileSync(config, 'lock: {wait: 50s}\n');
    const results = await Promise.all(
      tags.map((tag) => {
        makeLayout(join(root, tag), { layers: [tag], tag });
        const given = ['--as', 'app', '--root', root, '--config', config];
        return dropdock('publish', join(root, tag), ...given);
      }),
    );
    for (const { code, stderr } of results) expect(code, stderr).to.equal(0);
    expect(readRepository(join(root, 'published'), 'app')?.tags).to.have.keys(...tags);
  });
});

async function stopped(child: ChildProcess): Promise<void> {
  child.kill('SIGSTOP');
  await delay(50);
}
