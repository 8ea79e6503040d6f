/**
 * Goal: incremental rendering from the last snapshot gives the same bytes and names as a full rendering.
 * Method: random changes of every kind, one after the other.
 */
import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import { type RedirectOci, renderContent } from '#src/repository/content-files.js';
import { convertAll, wantedSince } from '#src/repository/convert.js';
import { settle } from '#src/repository/merge.js';
import { removeAll, restore, untag } from '#src/repository/next-state.js';
import { type RenderOptions, renderSnapshot } from '#src/repository/render.js';
import { type Rendering, render } from '#src/repository/rendering.js';
import { parseSnapshot } from '#src/repository/snapshot-file.js';
import type { RepositoryState } from '#src/repository/state.js';
import { TestContent, type TestDescriptor } from '../support/make-image.js';
import { makeRandom } from '../support/random.js';
import { removeTempDirs } from '../support/temp-dir.js';
import { dropped, GRACE_MS, grace, nothing, REPLACE, staged } from './drop-state.js';

const SEED = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 2 ** 31);
const CHANGES = 60;

describe('incremental rendering', () => {
  afterEach(removeTempDirs);

  for (const redirectOci of ['convert', 'passthrough', 'omit'] as const) {
    it(`equals a full rendering, ${redirectOci}`, () => {
      console.info(`      seed ${SEED}`);
      const world = new World(makeRandom(SEED), redirectOci);
      let last: Rendering | undefined;
      for (let n = 0; n < CHANGES; n++) {
        const state = world.change();
        const options = optionsOf(n, redirectOci);
        const next = render(last, state, options);
        expect(next.change === undefined, 'only the first is rendered from nothing').to.equal(
          n === 0,
        );
        expectSame(last, next, options, `change ${n}, seed ${SEED}`);
        last = next;
      }
    });
  }

  it('is replaced by a full rendering when the settings have changed', () => {
    const world = new World(makeRandom(SEED), 'omit');
    const last = render(undefined, world.change(), optionsOf(0, 'omit'));
    const options = optionsOf(1, 'passthrough');
    const next = render(last, world.change(), options);
    expect(next.change).to.equal(undefined);
    expectSame(undefined, next, options, `seed ${SEED}`);
  });

  function expectSame(
    last: Rendering | undefined,
    next: Rendering,
    options: RenderOptions,
    what: string,
  ): void {
    const whole = renderSnapshot(next.state, options);
    const texts = whole.flatMap((file) => ('text' in file ? [[file.path, file.text]] : []));
    expect(
      next.texts.map(({ path, text }) => [
        path,
        typeof text === 'string' ? text : String(Buffer.concat(text)),
      ]),
      what,
    ).to.deep.equal(texts);
    const files = whole.filter(({ path }) => /^(blobs|manifests)\//.test(path));
    expect(next.files, what).to.equal(files.length);
    if (last === undefined || next.change === undefined) return;
    // The last one's files, without what is gone and with what is put, are this one's.
    const before = filesOf(last);
    for (const path of next.change.gone) before.delete(path);
    for (const file of next.change.put) {
      expect(before.has(file.path), `${file.path} goes before it is put, ${what}`).to.equal(false);
      before.set(file.path, bytesOf(file));
    }
    expect([...before].sort(), what).to.deep.equal([...filesOf(next)].sort());
  }
});

const filesOf = ({ state, redirectOci }: Rendering) =>
  new Map(renderContent(state, redirectOci).map((file) => [file.path, bytesOf(file)]));

const bytesOf = (file: ReturnType<typeof renderContent>[number]) =>
  'tagged' in file ? `tag ${file.tagged}` : file.content;

function optionsOf(n: number, redirectOci: RedirectOci): RenderOptions {
  return {
    snapshot: `20261123T152634.${String(n).padStart(3, '0')}Z`,
    base: null,
    reason: { why: 'publish', drops: [{ drop: `drop "${n}"`, at: '20261123T000000.000Z' }] },
    freshTime: 1000 + n,
    redirectOci,
    urlTemplate: n % 3 === 0 ? 'https://host/{id}/' : 'https://host/{snapshot}/',
    protected: n % 2 === 0,
  };
}

/** A repository that changes at random, as publishes and changes by hand would change it. */
class World {
  #state: RepositoryState = nothing();
  readonly #earlier: RepositoryState[] = [];
  readonly #content = new TestContent();
  readonly #random: () => number;
  readonly #redirectOci: RedirectOci;
  #nowMs = 0;

  constructor(random: () => number, redirectOci: RedirectOci) {
    this.#random = random;
    this.#redirectOci = redirectOci;
  }

  change(): RepositoryState {
    this.#nowMs += this.#pick(2) === 0 ? 1 : GRACE_MS / 2;
    const before = this.#state;
    const { tags } = before;
    const kind = tags.size === 0 ? 0 : this.#pick(10);
    let merged: RepositoryState;
    if (kind === 7) merged = untag(before, [...tags.keys()].slice(this.#pick(tags.size)));
    else if (kind === 8 && this.#pick(2) === 0) merged = removeAll(before);
    else if (kind === 9 && this.#earlier.length > 0) merged = restore(before, this.#restored());
    else merged = this.#dropped(before);
    this.#earlier.push(before);
    this.#state = this.#settled(merged, before);
    return this.#state;
  }

  #pick(count: number): number {
    return Math.floor(this.#random() * count);
  }

  /** As read from its file: nothing of it is the very same. */
  #restored(): RepositoryState {
    const state = this.#earlier[this.#pick(this.#earlier.length)] ?? nothing();
    const options = optionsOf(0, this.#redirectOci);
    const file = renderSnapshot(state, options).find(({ path }) => path === '.snapshot.json');
    return parseSnapshot(Buffer.from(file && 'text' in file ? file.text : ''), 'here').state;
  }

  #dropped(before: RepositoryState): RepositoryState {
    const content = this.#content;
    const docker = this.#pick(2) === 0;
    const layers = ['base', `layer ${this.#pick(12)}`];
    const one = content.image({ layers, docker, platform: { os: 'linux', architecture: 'amd64' } });
    const other = content.image({
      layers,
      docker,
      platform: { os: 'linux', architecture: 'arm64' },
    });
    // Sometimes one platform comes later than the list that names it.
    const absent = new TestContent().image({ layers: [...layers, 'x'], docker });
    const index = content.index(this.#pick(2) === 0 ? [one, other] : [other, absent], docker);
    const signature = content.image({ layers: [`of ${this.#pick(4)}`], subject: one });
    const choices: { image: TestDescriptor; tag?: string }[] = [
      { image: one, tag: this.#tag() },
      { image: index, tag: this.#tag() },
      { image: signature },
      { image: other },
      { image: signature, tag: `sha256-${one.digest.slice(7)}` },
    ];
    const named = new Set<string>();
    const roots = choices.filter(({ tag }) => {
      if (this.#pick(2) === 0 || (tag !== undefined && named.has(tag))) return false;
      if (tag !== undefined) named.add(tag);
      return true;
    });
    const drop = staged(content, roots.length > 0 ? roots : [{ image: one, tag: 'latest' }]);
    const given = { nowMs: this.#nowMs, name: `drop ${this.#nowMs}` };
    return dropped(before, drop, this.#pick(12) === 0 ? { ...given, policy: REPLACE } : given)
      .state;
  }

  /** What looks like a number comes first in an object, and `__proto__` is a legal tag. */
  #tag(): string {
    const tags = ['latest', '__proto__', 'a', 'a-b', 'a.b', 'A', `v${this.#pick(30)}`];
    return tags[this.#pick(tags.length)] ?? String(this.#pick(100));
  }

  #settled(merged: RepositoryState, before: RepositoryState): RepositoryState {
    const period = grace(this.#nowMs, GRACE_MS);
    if (this.#redirectOci !== 'convert') {
      return settle({ ...merged, conversions: new Map() }, before, period);
    }
    const load = (digest: Digest) => this.#content.blobs.get(digest) ?? Buffer.alloc(0);
    const all = convertAll(wantedSince(undefined, merged), merged.conversions, { ...merged, load });
    const wanted = wantedSince(before, merged);
    const { conversions, made } = convertAll(wanted, merged.conversions, { ...merged, load });
    expect([...conversions], 'what changed is all there is to convert').to.have.deep.members([
      ...all.conversions,
    ]);
    const records = made.map(({ digest, record }) => [digest, record] as const);
    for (const { digest, bytes } of made) this.#content.blobs.set(digest, bytes);
    const manifests = new Map([...merged.manifests, ...records]);
    return settle({ ...merged, manifests, conversions }, before, period);
  }
}
