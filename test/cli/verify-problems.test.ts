/** One damaged blob is one problem, however many files have it. */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { groupFindings, problemText } from '#src/cli/verify-problems.js';
import { dropdock } from '../support/daemon-process.js';
import { makeLayout } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const HEX = 'ab'.repeat(32);

describe('the problems that verify finds', () => {
  afterEach(removeTempDirs);

  it('are grouped by content', () => {
    const finding = (problem: 'damaged' | 'missing' | 'foreign', path: string) => ({
      problem,
      path,
      detail: 'x',
    });
    const problems = groupFindings([
      finding('damaged', `master/app/20261123T152634.123Z/blobs/sha256:${HEX}`),
      finding('foreign', 'master/app/other'),
      finding('missing', `content/sha256/ab/${HEX}`),
      finding('damaged', 'master/app/20261123T152634.123Z/tags/list'),
    ]);
    expect(problems.map(({ digest, paths }) => [digest, paths.length])).to.deep.equal([
      [`sha256:${HEX}`, 2],
      [undefined, 1],
      [undefined, 1],
    ]);
    const text = problems[0] && problemText(problems[0], [], '');
    expect(text).to.contain('and 1 more').and.to.contain('No tag needs it');
  });

  it('name the tags that need the content, by the name of the repository', async function () {
    this.timeout(60_000);
    const root = tempDir();
    const run = (...given: string[]) => dropdock(...given, '--root', root);
    makeLayout(join(root, 'one'), { layers: ['one'] });
    makeLayout(join(root, 'two'), { layers: ['two'] });
    await run('publish', join(root, 'one'), '--as', 'team/app:1');
    await run('publish', join(root, 'one'), '--as', 'team/app:stable');
    await run('publish', join(root, 'two'), '--as', 'team/app:2');
    const index = JSON.parse((await run('status', 'team/app', '--json')).stdout);
    const [one] = index.repositories[0].tags.filter(({ tag }: { tag: string }) => tag === '1');
    for (const snapshot of readdirSync(join(root, 'published/master/team~app'))) {
      const place = join(root, 'published/master/team~app', snapshot, 'manifests/oci');
      rmSync(join(place, one.digest), { force: true });
    }
    const { code, stdout } = await run('verify');
    expect(code).to.equal(3);
    expect(stdout).to.contain(
      'needed by team/app: 1, stable\n  Run: dropdock verify --repair, then drop',
    );
    expect(stdout).to.contain(' 1 problems found');
    const { problems } = JSON.parse((await run('verify', '--json')).stdout);
    expect(problems[0].neededBy).to.deep.equal([{ repository: 'team/app', tags: ['1', 'stable'] }]);
  });
});
