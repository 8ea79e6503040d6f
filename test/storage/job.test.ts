import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { type Job, job } from '#src/storage/job.js';

const DIST = fileURLToPath(new URL('.', import.meta.resolve('#src/main.js')));

describe('a job', () => {
  it('is found by a worker thread: its module exports it under its name', async () => {
    let count = 0;
    for (const path of readdirSync(DIST, { recursive: true, encoding: 'utf8' })) {
      if (!path.endsWith('.js')) continue;
      const names = [
        ...readFileSync(join(DIST, path), 'utf8').matchAll(/\bjob\('.*function (\w+)/g),
      ];
      if (names.length === 0) continue;
      const { href } = pathToFileURL(join(DIST, path));
      const exported: Record<string, Job<unknown, unknown>> = await import(href);
      for (const [, name] of names) {
        const { module, jobName } = exported[String(name)] ?? {};
        expect({ module, jobName }, `${path}: ${name}`).to.deep.equal({
          module: href,
          jobName: name,
        });
        count++;
      }
    }
    expect(count).to.be.greaterThan(50);
  });

  it('has a name', () => {
    expect(() => job('fast', import.meta.url, () => {})).to.throw('no name');
  });

  it('can be called like any other function', () => {
    const twice = job('hash', import.meta.url, function twice(_disk, n: number) {
      return 2 * n;
    });
    expect(twice({} as never, 2)).to.equal(4);
    expect(twice).to.include({ pool: 'hash', module: import.meta.url, jobName: 'twice' });
  });
});
