import { expect } from 'chai';
import {
  parseCarried,
  parseHeader,
  parseSnapshot,
  type SnapshotHeader,
  serialiseSnapshot,
} from '#src/repository/snapshot-file.js';
import type { RepositoryState } from '#src/repository/state.js';
import { TestContent } from '../support/make-image.js';
import { refusal } from '../support/refusal.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { digest, dropped, nothing, staged } from './drop-state.js';

const HEADER: SnapshotHeader = {
  snapshot: '20261123T152634.123Z',
  base: '20261123T152634.000Z',
  reason: { why: 'publish', drops: [{ drop: 'app', at: '20261123T000000.000Z' }] },
  freshTime: 1234,
  redirectOci: 'passthrough',
};

describe('.snapshot.json', () => {
  afterEach(removeTempDirs);

  /** A state with something in every part of it. */
  const fullState = (...tags: string[]): RepositoryState => {
    const content = new TestContent();
    const platform = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const index = content.index([content.image({ platform })]);
    const annotations = { 'org.example': 'note' };
    const signature = content.image({ layers: ['sig'], subject: index, annotations });
    const first = dropped(nothing(), staged(content, [{ image: content.image(), tag: 'x' }])).state;
    const roots = [...tags, 'x'].map((tag) => ({ image: index, tag }));
    const drop = staged(content, [...roots, { image: signature }]);
    const { state } = dropped(first, drop, { nowMs: 77 });
    return { ...state, conversions: new Map([[digest(index), null]]) };
  };

  it('round-trips the state and the header', () => {
    const state = fullState('1.0', '10', '9', '__proto__', 'constructor');
    expect(state.carried.size).to.equal(1);
    expect(state.untagged.size).to.equal(1);
    const text = serialiseSnapshot(state, HEADER);
    const { state: again, ...header } = parseSnapshot(Buffer.from(text), 'here');
    expect(header).to.deep.equal(HEADER);
    expect(serialiseSnapshot(again, header)).to.equal(text);
    for (const part of ['tags', 'untagged', 'manifests', 'carried', 'conversions'] as const) {
      expect(again[part].size, part).to.equal(state[part].size);
      for (const [key, value] of state[part] as ReadonlyMap<never, unknown>) {
        expect((again[part] as ReadonlyMap<unknown, unknown>).get(key)).to.deep.equal(value);
      }
    }
    expect(again).to.include({ repository: 'team/app', id: 'team~app' });
  });

  it('returns what it keeps for grace without parsing the rest', () => {
    const state = fullState('1.0', '"carried": ', '9');
    const text = Buffer.from(serialiseSnapshot(state, HEADER));
    expect([...parseCarried(text, 'here')]).to.deep.equal([...state.carried]);
    const { code } = refusal(() => parseCarried(text.subarray(0, text.length / 2), 'here'));
    expect(code).to.equal('layout.unsafe');
  });

  it('returns its base snapshot and reason without parsing the rest', () => {
    const text = Buffer.from(serialiseSnapshot(fullState('1.0'), HEADER));
    const { base, reason } = HEADER;
    const cut = text.subarray(0, text.indexOf('"untagged"'));
    expect(parseHeader(cut, 'here')).to.deep.equal({ base, reason });
    const { code } = refusal(() => parseHeader(text.subarray(0, 100), 'here'));
    expect(code).to.equal('layout.unsafe');
  });

  it('does not depend on insertion order', () => {
    const state = fullState('a', 'b');
    const reversed: RepositoryState = {
      ...state,
      tags: new Map([...state.tags].reverse()),
      manifests: new Map([...state.manifests].reverse()),
      untagged: new Map([...state.untagged].reverse()),
    };
    expect(serialiseSnapshot(reversed, HEADER)).to.equal(serialiseSnapshot(state, HEADER));
  });

  for (const [what, text] of [
    ['is torn', '{"version":1,'],
    ['is of another version', '{"version":2}'],
  ] as const) {
    it(`is rejected when it ${what}: layout.unsafe`, () => {
      const { code, details } = refusal(() => parseSnapshot(Buffer.from(text), 'here'));
      expect(code).to.equal('layout.unsafe');
      expect(details.path).to.equal('here');
    });
  }
});
