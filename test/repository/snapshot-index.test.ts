/** An entry found in the text equals the result of a full parse, whatever the names are. */
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '#src/image/names.js';
import { serialiseSnapshot } from '#src/repository/snapshot-file.js';
import { SnapshotIndex } from '#src/repository/snapshot-index.js';
import { emptyState, type RepositoryState } from '#src/repository/state.js';
import { sha256 } from '../support/make-image.js';
import { makeRandom } from '../support/random.js';
import { refusal } from '../support/refusal.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const HEADER = {
  snapshot: '20261123T152634.123Z',
  base: null,
  // As nasty as a drop's name can be: nothing of it looks like a table.
  reason: { why: 'publish', drops: [{ drop: '"tags": {\n "tags": {}', at: 'now' }] },
  freshTime: 1,
  redirectOci: 'convert',
} as const;
const LETTERS = 'aZ09_.-';

function indexOf(state: RepositoryState): SnapshotIndex {
  return new SnapshotIndex(Buffer.from(serialiseSnapshot(state, HEADER)), 'it');
}

/** With so many tags, of names that begin alike, each its own image. */
function makeState(count: number, random: () => number): RepositoryState {
  const letter = () => LETTERS[Math.floor(random() * LETTERS.length)] ?? '';
  const name = () => `v${Array.from({ length: Math.floor(random() * 6) }, letter).join('')}`;
  const tags = new Map<Tag, { digest: Digest; from: { drop: string; at: string } }>();
  const manifests = new Map<
    Digest,
    RepositoryState['manifests'] extends ReadonlyMap<Digest, infer R> ? R : never
  >();
  for (let n = 0; n < count; n++) {
    const digest = sha256(`m${n}`) as Digest;
    const blobs = [{ digest: sha256(`b${n}`) as Digest, size: n }];
    tags.set(name() as Tag, { digest, from: { drop: 'é ",\n }', at: 'x' } });
    manifests.set(digest, { mediaType: 'text/x', size: n, blobs, children: [] });
  }
  const conversions = new Map([...manifests.keys()].map((each, n) => [each, n % 2 ? each : null]));
  const empty = emptyState('team/app' as RepositoryName, 'team~app' as RepositoryId);
  return { ...empty, tags, manifests, conversions };
}

describe('an index of a snapshot', () => {
  it('finds every existing entry and no others', () => {
    console.info(`      seed ${SEED}`);
    const random = makeRandom(SEED);
    for (const count of [0, 1, 2, 3, 7, 100, 500]) {
      const state = makeState(count, random);
      const index = indexOf(state);
      expect(index.keys('tags')).to.deep.equal([...state.tags.keys()].sort());
      for (const [tag, { digest, from }] of state.tags) {
        expect(index.entry('tags', tag)).to.deep.include({ digest, from });
        for (const near of [`${tag}a`, tag.slice(0, -1), `${tag}~`]) {
          const there = state.tags.has(near as Tag);
          expect(index.entry('tags', near) !== undefined, near).to.equal(there);
        }
      }
      for (const [digest, { size, blobs }] of state.manifests) {
        expect(index.entry('manifests', digest)).to.deep.include({ size });
        expect(index.entry('blobs', blobs[0]?.digest ?? '')).to.equal(size);
        expect(index.entry('conversions', digest)).to.equal(state.conversions.get(digest));
        expect(index.entry('carried', digest)).to.equal(undefined);
        expect(index.entry('blobs', digest)).to.equal(undefined);
      }
    }
  });

  it('returns the header of the snapshot', () => {
    const { header } = indexOf(makeState(3, makeRandom(1)));
    expect(header).to.include({ repository: 'team/app', id: 'team~app', base: null });
    expect(header.reason).to.deep.equal(HEADER.reason);
    const removed = indexOf({ ...makeState(0, makeRandom(1)), removed: true });
    expect(removed.header.removed).to.equal(true);
  });

  it('rejects text that is not a snapshot', () => {
    const text = serialiseSnapshot(makeState(3, makeRandom(1)), HEADER);
    for (const wrong of [
      '',
      '{}',
      text.slice(0, text.length / 2),
      text.slice(0, -1),
      text.replace('"version": 1', '"version": 2'),
    ]) {
      expect(refusal(() => new SnapshotIndex(Buffer.from(wrong), 'it')).code).to.equal(
        'layout.unsafe',
      );
    }
  });
});
