/** The combined status of several daemons on one tree. */
import { expect } from 'chai';
import { dropsOf } from '#src/cli/status.js';
import type { InboxStatusDocument } from '#src/daemon/inbox-status-writer.js';

describe('status of several daemons', () => {
  const board = (at: number, ...drops: [string, string, string?][]): InboxStatusDocument => ({
    version: 1,
    at,
    pid: at,
    waiting: drops.length,
    drops: drops.map(([drop, state, reason]) => ({ drop, state, sinceMs: 0, reason })) as never,
  });
  const said = (...boards: InboxStatusDocument[]) =>
    dropsOf(boards).map(({ drop, state, reason }) => `${drop} ${state} ${reason ?? ''}`.trim());

  it('lists each waiting drop once, as the latest scan reports it', () => {
    const one = board(1, ['app:1', 'waiting', 'old'], ['junk', 'ignored']);
    const two = board(2, ['app:1', 'waiting', 'new'], ['junk', 'ignored']);
    expect(said(one, two)).to.deep.equal(['app:1 waiting new', 'junk ignored']);
  });

  it('lists every claim, and does not list a drop as waiting that was claimed since', () => {
    const one = board(1, ['app:1', 'waiting'], ['app:2', 'publishing']);
    const two = board(2, ['app:1', 'queued'], ['app:3', 'waiting']);
    expect(said(one, two)).to.deep.equal(['app:2 publishing', 'app:1 queued', 'app:3 waiting']);
  });

  it('lists a drop that was dropped again beside the one being published', () => {
    const one = board(2, ['app:1', 'publishing'], ['app:1', 'waiting']);
    const two = board(1, ['app:1', 'waiting']);
    expect(said(one, two)).to.deep.equal(['app:1 publishing', 'app:1 waiting']);
  });
});
