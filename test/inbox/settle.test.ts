import { expect } from 'chai';
import type { Missing } from '#src/image/staged-content.js';
import type { Observation } from '#src/inbox/scan.js';
import { type Decision, describeMissing, Settler, type Verdict } from '#src/inbox/settle.js';

const QUIET = 1000;
const TIMEOUT = 600_000;
const WHOLE: Verdict = { kind: 'whole' };
const LAYER: Missing = {
  digest: 'sha256:aa',
  path: 'blobs/sha256/aa',
  by: 'sha256:bb',
  tolerable: false,
  platform: undefined,
};
const INCOMPLETE: Verdict = { kind: 'incomplete', missing: [LAYER] };

/** A drop last changed at 0 on the filesystem's clock. */
const DROP: Observation = {
  path: 'app:1.0',
  kind: 'directory',
  signature: 'first',
  newestMs: 0,
  busy: undefined,
  bytes: 0,
  isCertain: true,
  isMarked: true,
};

describe('Settler', () => {
  let settler: Settler;
  beforeEach(() => {
    settler = new Settler({ quietMs: QUIET, timeoutMs: TIMEOUT });
  });

  /** @param filesystemMs since the last change, as the filesystem's clock tells */
  const decide = (
    monotonicMs: number,
    {
      filesystemMs = monotonicMs,
      ...change
    }: Partial<Observation> & { filesystemMs?: number } = {},
  ): Decision => settler.decide({ ...DROP, ...change }, { filesystemMs, monotonicMs });
  /** Looks as often as the decisions say, and reads the drop when it is still. */
  const examined = (atMs: number, verdict: Verdict, change: Partial<Observation> = {}) => {
    expect(decide(atMs, change).action).to.equal('examine');
    settler.conclude(DROP.path, verdict);
    return decide(atMs, change);
  };

  it('reads a long-unchanged drop at once, and claims it when it is complete', () => {
    const old = { filesystemMs: QUIET };
    expect(decide(0, old)).to.deep.equal({ action: 'examine' });
    settler.conclude(DROP.path, WHOLE);
    expect(decide(0, old)).to.deep.equal({ action: 'take', tolerateAbsent: false });
  });

  it('waits for the rest of the quiet period, and requests a scan at its end', () => {
    expect(decide(0, { filesystemMs: 400 })).to.deep.equal({
      action: 'wait',
      reason: undefined,
      recheckMs: 600,
    });
    expect(decide(600, { filesystemMs: 1000 }).action).to.equal('examine');
  });

  it('restarts the quiet period after every change', () => {
    decide(0, { filesystemMs: 0 });
    decide(900, { filesystemMs: 900 });
    const changed = { signature: 'second', newestMs: 950 };
    expect(decide(1000, { ...changed, filesystemMs: 1000 }).action).to.equal('wait');
    expect(decide(1949, { ...changed, filesystemMs: 1949 }).action).to.equal('wait');
    expect(decide(1950, { ...changed, filesystemMs: 1950 }).action).to.equal('examine');
  });

  it('watches for changes when change times lie in the future', () => {
    const future = { newestMs: 1_000_000, filesystemMs: 0 };
    expect(decide(0, future)).to.include({ action: 'wait', recheckMs: QUIET });
    expect(decide(QUIET - 1, future).action).to.equal('wait');
    expect(decide(QUIET, future).action).to.equal('examine');
  });

  it('watches for changes when the filesystem’s clock stands still', () => {
    expect(decide(0, { filesystemMs: 0 }).action).to.equal('wait');
    expect(decide(QUIET, { filesystemMs: 0 }).action).to.equal('examine');
  });

  it('reads a drop again only after it has changed', () => {
    expect(examined(QUIET, INCOMPLETE).action).to.equal('wait');
    expect(decide(QUIET * 2).action).to.equal('wait');
    const changed = { signature: 'second', newestMs: QUIET * 2 };
    expect(decide(QUIET * 3, changed).action).to.equal('examine');
  });

  it('reads it again when the content of its repository has changed', () => {
    examined(QUIET, INCOMPLETE);
    settler.forgetVerdicts();
    expect(examined(QUIET * 2, WHOLE).action).to.equal('take');
    settler.forgetVerdicts();
    expect(decide(QUIET * 3).action).to.equal('take');
  });

  it('reports what it waits for', () => {
    const decision = examined(QUIET, INCOMPLETE);
    expect(decision).to.deep.include({
      action: 'wait',
      reason: 'missing: sha256:aa (of sha256:bb)',
    });
  });

  it('claims a permanently incomplete drop at once, so that its owner gets a receipt', () => {
    expect(examined(QUIET, { kind: 'refused' })).to.deep.equal({
      action: 'take',
      tolerateAbsent: false,
    });
  });

  it('ignores entries that are not images, and reports them', () => {
    expect(examined(QUIET, { kind: 'stranger' })).to.deep.equal({
      action: 'ignore',
      reason: 'no archive of an image',
    });
    expect(decide(TIMEOUT * 2).action).to.equal('ignore');
  });

  it('continues its wait for a drop that was claimed and returned', () => {
    decide(0);
    const sinceMs = settler.sinceOf(DROP.path) ?? -1;
    expect(sinceMs).to.equal(0);
    settler.keepOnly(new Set());
    settler.resume(DROP.path, DROP.signature, sinceMs, INCOMPLETE);
    expect(decide(TIMEOUT - 1)).to.deep.include({ action: 'wait', recheckMs: 1 });
    expect(decide(TIMEOUT).action).to.equal('take');
  });

  it('does not reread a drop that waits for a file without digest when others are published', () => {
    examined(QUIET, { kind: 'incomplete', missing: [{ ...LAYER, digest: '' }] });
    settler.forgetVerdicts();
    expect(decide(QUIET * 2).action).to.equal('wait');
  });

  describe('after the timeout', () => {
    it('claims incomplete drops, and tolerates absent platforms', () => {
      decide(0);
      expect(examined(TIMEOUT - 1, INCOMPLETE)).to.deep.include({ action: 'wait', recheckMs: 1 });
      expect(decide(TIMEOUT)).to.deep.equal({ action: 'take', tolerateAbsent: true });
    });

    it('counts from the last change', () => {
      decide(0);
      const changed = { signature: 'second', newestMs: TIMEOUT - 1 };
      decide(TIMEOUT - 1, changed);
      expect(examined(TIMEOUT + QUIET, INCOMPLETE, changed).action).to.equal('wait');
      expect(decide(TIMEOUT * 2, changed).action).to.equal('take');
    });

    it('ignores entries that may be namespaces', () => {
      decide(0, { isCertain: false });
      const decision = examined(TIMEOUT, INCOMPLETE, { isCertain: false });
      expect(decision).to.include({ action: 'wait', recheckMs: TIMEOUT });
    });

    it('ignores temporary files of a dead tool', () => {
      const busy = { busy: 'blobs/.part' };
      expect(decide(0, busy).action).to.equal('wait');
      expect(decide(TIMEOUT - 1, busy).action).to.equal('wait');
      expect(examined(TIMEOUT, WHOLE, busy).action).to.equal('take');
    });
  });

  it('keeps waiting while something inside shows that it is being written', () => {
    expect(decide(QUIET * 5, { busy: 'oci-put-blob123' })).to.deep.equal({
      action: 'wait',
      reason: 'temporary file oci-put-blob123 of a running write',
      recheckMs: QUIET,
    });
  });

  it('waits for its marker file forever', () => {
    decide(0, { isMarked: false });
    expect(decide(TIMEOUT * 10, { isMarked: false })).to.deep.include({
      action: 'wait',
      reason: 'its marker file',
    });
  });

  it('forgets removed drops', () => {
    decide(0);
    decide(0, { path: 'other' });
    expect(settler.keepOnly(new Set(['other']))).to.equal(1);
    // It has come back: its time begins anew.
    expect(decide(QUIET, { filesystemMs: 0 }).action).to.equal('wait');
    expect(decide(QUIET, { path: 'other', filesystemMs: 0 }).action).to.equal('examine');
  });
});

describe('describeMissing', () => {
  it('lists digests with their platform, files by path, and what references them', () => {
    const file = { ...LAYER, digest: '', path: 'index.json', by: 'the layout' };
    const platform = { ...LAYER, platform: 'linux/arm64' };
    expect(describeMissing([file, platform])).to.equal(
      'missing: index.json (of the layout), linux/arm64 sha256:aa (of sha256:bb)',
    );
  });

  it('says how far a drop is, and what is wrong with a file that is there', () => {
    expect(describeMissing([LAYER], 8)).to.equal(
      'waiting for 1 of 8 blobs: sha256:aa (of sha256:bb)',
    );
    const index = { ...LAYER, digest: '', path: 'index.json', problem: 'is not valid JSON yet' };
    expect(describeMissing([index])).to.equal('index.json is not valid JSON yet');
  });

  it('counts entries beyond the limit', () => {
    const text = describeMissing(Array.from({ length: 25 }, () => LAYER));
    expect(text.split(', ')).to.have.length(20);
    expect(text).to.match(/ and 5 more$/);
  });
});
