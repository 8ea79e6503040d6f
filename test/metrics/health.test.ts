import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Health } from '#src/metrics/health.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('readiness', () => {
  let nowMs: number;
  let inbox: string;
  let health: Health;
  let fails: boolean;

  beforeEach(() => {
    nowMs = 0;
    const root = tempDir();
    inbox = join(root, 'inbox');
    mkdirSync(inbox);
    const places = [
      { name: 'inbox', path: inbox, use: 'write' },
      { name: 'published', path: root, use: 'read' },
    ] as const;
    fails = false;
    const endpointFails = () => fails;
    health = new Health({ places, scanMs: () => 30_000, endpointFails, nowMs: () => nowMs });
  });
  afterEach(removeTempDirs);

  const problems = async () => (await health.readiness()).problems;

  it('starts with the first scan', async () => {
    expect(await problems()).to.deep.equal(['scanner: starting']);
    health.scanned(5);
    expect(await health.readiness()).to.deep.equal({ isReady: true, problems: [] });
  });

  it('ends when nothing was scanned for three intervals, and returns with the next scan', async () => {
    health.scanned(5);
    nowMs += 100_000;
    expect(await problems()).to.deep.equal([]);
    nowMs += 1000;
    expect(await problems()).to.deep.equal(['scanner: no scan for 1m 41s']);
    health.scanned(5);
    expect(await problems()).to.deep.equal([]);
  });

  it('ends while the endpoint cannot listen', async () => {
    health.scanned(5);
    fails = true;
    expect(await problems()).to.deep.equal(['endpoint: not listening']);
    fails = false;
    expect(await problems()).to.deep.equal([]);
  });

  it('allows a long scan its full time limit', async () => {
    health.scanned(20_000);
    nowMs += 290_000;
    expect(await problems()).to.deep.equal([]);
    nowMs += 11_000;
    expect(await problems()).to.deep.equal(['scanner: no scan for 5m 1s']);
  });

  it('names the unreachable part, without its path', async () => {
    health.scanned(5);
    rmSync(inbox, { recursive: true });
    expect(await problems()).to.deep.equal(['inbox: unreachable (ENOENT)']);
    writeFileSync(inbox, '');
    mkdirSync(`${inbox}.d`);
    chmodSync(inbox, 0o000);
    expect((await problems())[0]).to.match(/^inbox: unreachable \(E(ACCES|NOTDIR)\)$/);
  });

  it('reports how full the disk is', async () => {
    const [first] = await health.reach();
    expect(first?.reach?.freeBytes).to.be.within(1, first?.reach?.allBytes ?? 0);
  });
});
