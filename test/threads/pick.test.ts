import { expect } from 'chai';
import { laneOf, remembered } from '#src/threads/lanes.js';
import { pickIdle } from '#src/threads/pick.js';

describe('which idle thread gets a task', () => {
  const idle = ['app', undefined, 'other', undefined, 'third'].map((remembers, at) => ({
    at,
    remembers,
  }));

  it('is the one that remembers the repository', () => {
    expect(pickIdle(idle, 'app')?.at).to.equal(0);
  });

  it('is one that has nothing to forget when none remembers it', () => {
    expect(pickIdle(idle, 'new')?.at).to.equal(3);
  });

  it('is the one that became free last when all remember something, or the task is about nothing', () => {
    const all = idle.filter(({ remembers }) => remembers !== undefined);
    expect(pickIdle(all, 'new')?.at).to.equal(4);
    expect(pickIdle(idle, undefined)?.at).to.equal(4);
    expect(pickIdle([], 'app')).to.equal(undefined);
  });

  it('is asked for by what builds a snapshot, and by nothing else', () => {
    const request = { policy: { id: 'app' } };
    expect(
      ['build', 'buildEdit', 'readAndBuild', 'flip'].map((job) =>
        remembered(job as never, request),
      ),
    ).to.deep.equal(['app', 'app', 'app', undefined]);
    expect(laneOf('build')).to.equal('quick');
    expect(laneOf('flip'), 'what comes after has a thread of its own').to.equal('after');
  });
});
