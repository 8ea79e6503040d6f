import { existsSync } from 'node:fs';
import { expect } from 'chai';
import { TRIALS } from './trials.js';

describe('the trials of npm run torture', () => {
  it('name test files that exist', () => {
    const files = Object.values(TRIALS).flatMap(({ files }) => files);
    const missing = files.filter(
      (file) => !existsSync(new URL(`../${file}.test.js`, import.meta.url)),
    );
    expect(missing).to.deep.equal([]);
  });
});
