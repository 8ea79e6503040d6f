import { expect } from 'chai';
import * as v from 'valibot';
import { duration } from '#src/settings/duration.js';
import { settingPaths } from '#src/settings/schema.js';

describe('durations', () => {
  const right: readonly [string | number, number][] = [
    ['500ms', 500],
    ['1s', 1000],
    ['10m', 600_000],
    ['10min', 600_000],
    ['1h', 3_600_000],
    ['2d', 172_800_000],
    ['1.5h', 5_400_000],
    [' 1 s ', 1000],
    ['30', 30_000],
    [30, 30_000],
    [0.5, 500],
    ['0s', 0],
  ];
  for (const [text, ms] of right) {
    it(`are ${ms} milliseconds for ${JSON.stringify(text)}`, () => {
      expect(v.parse(duration, text)).to.equal(ms);
    });
  }

  for (const text of ['', 's', '-1s', '1 week', '1h30m', 'soon', '1S', '0x10', -1, Number.NaN]) {
    it(`are not parsed from ${JSON.stringify(text)}`, () => {
      expect(v.is(duration, text)).to.equal(false);
    });
  }
});

describe('settingPaths', () => {
  it('lists single settings and settings of sections, but not the map of repositories', () => {
    const paths = settingPaths().map((path) => path.join('.'));
    expect(paths).to.include.members(['ingest', 'settle.quiet', 'settle.marker', 'redirect.oci']);
    expect(paths.filter((path) => path.startsWith('repositories'))).to.deep.equal([]);
    expect(paths).not.to.include('settle');
  });
});
