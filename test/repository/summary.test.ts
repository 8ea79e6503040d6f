/** The rows of a page are found without reading the others, whatever the tag names are. */
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId, RepositoryName, Tag } from '#src/image/names.js';
import {
  parseSnapshot,
  parseSnapshotTags,
  serialiseSnapshot,
} from '#src/repository/snapshot-file.js';
import { emptyState, type ManifestRecord, type RepositoryState } from '#src/repository/state.js';
import { findRows, summarise } from '#src/repository/summary.js';
import { refusal } from '../support/refusal.js';

const digest = (n: number) => `sha256:${String(n).padStart(64, '0')}` as Digest;
const HEADER = {
  snapshot: '20261124T000000.000Z',
  base: '20261123T000000.000Z',
  reason: { why: 'publish' as const, drops: [] },
  freshTime: 0,
  redirectOci: 'omit' as const,
};

function image(n: number, size = 10): ManifestRecord {
  const blobs = [
    { digest: digest(1000 + n), size: 5 },
    { digest: digest(1), size: 100 },
  ];
  return { mediaType: 'application/vnd.oci.image.manifest.v1+json', size, blobs, children: [] };
}

/** Tags in this order; each the newer, the later it stands. */
function stateOf(tags: readonly string[]): RepositoryState {
  const manifests = new Map(tags.map((_tag, n) => [digest(10 + n), image(n)]));
  return {
    ...emptyState('team/app' as RepositoryName, 'team~app' as RepositoryId),
    manifests,
    tags: new Map(
      tags.map((tag, n) => {
        const at = `2026112${n % 10}T00000${Math.floor(n / 10)}.000Z`;
        return [tag as Tag, { digest: digest(10 + n), from: { drop: `drop "${n}\n`, at } }];
      }),
    ),
  };
}

const all = { order: 'tag' as const, filter: '', page: 1, perPage: 100 };

describe('the summary of a snapshot', () => {
  it('has a row per tag, sorted by name or age, with sizes that count nothing twice', () => {
    const summary = summarise({ ...HEADER, state: stateOf(['b', 'a', '__proto__']) });
    expect(summary.facts).to.include({ repository: 'team/app', tags: 3, removed: false });
    // Three manifests of 10, three configs of 5, one layer of 100.
    expect(summary.facts.bytes).to.equal(145);
    const { rows, matching } = findRows(summary, all);
    expect(rows.map(({ tag }) => tag)).to.deep.equal(['__proto__', 'a', 'b']);
    expect(matching).to.equal(3);
    expect(rows[1]).to.include({ bytes: 115, drop: 'drop "1\n', config: digest(1001) });
    const byAge = findRows(summary, { ...all, order: 'age' });
    expect(byAge.rows.map(({ tag }) => tag)).to.deep.equal(['__proto__', 'a', 'b']);
  });

  it('returns one page of the matching tags', () => {
    const tags = Array.from({ length: 30 }, (_none, n) => `v${n}`);
    const summary = summarise({ ...HEADER, state: stateOf(tags) });
    const wanted = { ...all, filter: 'v1', page: 2, perPage: 3 };
    const { rows, ...found } = findRows(summary, wanted);
    expect(found).to.deep.equal({ matching: 11, page: 2, pages: 4 });
    expect(rows.map(({ tag }) => tag)).to.deep.equal(['v12', 'v13', 'v14']);
    const last = findRows(summary, { ...wanted, page: 100 });
    expect([last.page, last.rows.map(({ tag }) => tag)]).to.deep.equal([4, ['v18', 'v19']]);
    expect(findRows(summary, { ...wanted, filter: 'none' }).matching).to.equal(0);
  });

  it('describes an index by its platforms, and omits attestations', () => {
    const index: ManifestRecord = {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      size: 7,
      blobs: [],
      children: [
        { digest: digest(10), platform: 'linux/amd64' },
        { digest: digest(11), platform: 'linux/arm64/v8' },
        { digest: digest(99), platform: 'unknown/unknown' },
      ],
    };
    const images = stateOf(['one', 'two']);
    const from = { drop: 'd', at: '20261124T000000.000Z' };
    const state = {
      ...images,
      manifests: new Map([...images.manifests, [digest(500), index]]),
      tags: new Map([['multi' as Tag, { digest: digest(500), from }]]),
    };
    const [row] = findRows(summarise({ ...HEADER, state }), all).rows;
    expect(row?.platforms).to.deep.equal(['linux/amd64', 'linux/arm64/v8']);
    expect(row).to.include({ config: null, bytes: 7 + 2 * 15 + 100 });
  });
});

describe('reading only the tags of a snapshot', () => {
  it('gives the same result as a full parse, also when texts look like their context', () => {
    const state = stateOf(['untagged', 'tags', '__proto__', '1']);
    const hostile = new Map(state.tags);
    const from = { drop: ',\n "untagged": {}', at: '\n "tags": {' };
    hostile.set('evil' as Tag, { digest: digest(10), from });
    for (const each of [{ ...state, tags: hostile }, stateOf([])]) {
      const bytes = Buffer.from(serialiseSnapshot(each, HEADER));
      const { base, tags } = parseSnapshotTags(bytes, 'it');
      const whole = parseSnapshot(bytes, 'it');
      expect(base).to.equal(HEADER.base);
      const digests = (from: ReadonlyMap<string, { digest: string }>) =>
        [...from].map(([tag, { digest }]) => [tag, digest]);
      expect(digests(tags)).to.deep.equal(digests(whole.state.tags));
    }
  });

  it('rejects damaged snapshots and other versions', () => {
    const text = serialiseSnapshot(stateOf(['a']), HEADER);
    const broken = ['', '{}', text.slice(0, 200), text.replace('"version": 1', '"version": 2')];
    for (const each of broken) {
      const error = refusal(() => parseSnapshotTags(Buffer.from(each), 'it'));
      expect(error.code, each.slice(0, 30)).to.equal('layout.unsafe');
    }
  });
});
