/** Statistics over benchmark samples. */

import { expect } from 'chai';
import { line, percentile, spread } from '#bench/statistics.js';

describe('benchmark statistics', () => {
  it('computes the median and the tail in any sample order', () => {
    expect(percentile([3, 1, 2], 0.5)).to.equal(2);
    expect(percentile([4, 1, 3, 2], 0.5)).to.equal(2.5);
    const hundred = Array.from({ length: 101 }, (_none, at) => 100 - at);
    expect(percentile(hundred, 0.99)).to.equal(99);
    expect(percentile([], 0.5)).to.be.NaN;
  });

  it('shows the median with the minimum and the maximum', () => {
    expect(spread([0.21, 0.1, 0.4])).to.equal('0.210 (0.100–0.400)');
    expect(spread([1234.5])).to.equal('1,235');
  });

  it('fits a straight line and reports how well it fits', () => {
    const straight = line([
      [1000, 3],
      [2000, 5],
      [5000, 11],
    ]);
    expect(straight.slope).to.be.closeTo(0.002, 1e-9);
    expect(straight.intercept).to.be.closeTo(1, 1e-9);
    expect(straight.fit).to.be.closeTo(1, 1e-9);
    const bent = line([
      [1, 1],
      [2, 4],
      [10, 100],
      [11, 20],
    ]);
    expect(bent.fit).to.be.below(0.9);
  });
});
