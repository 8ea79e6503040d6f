/** Every view with hostile names: well-formed, escaped, and readable without styles. */
import { expect } from 'chai';
import { helpPage } from '#src/web/help-view.js';
import type { Html } from '#src/web/html.js';
import { imagePage } from '#src/web/image-view.js';
import { type InboxDrop, inboxBrief, inboxFull, inboxPage } from '#src/web/inbox-view.js';
import { notice } from '#src/web/page-layout.js';
import { describeAge, plural, shortenDigests } from '#src/web/page-parts.js';
import { SCRIPT } from '#src/web/page-script.js';
import { STYLE } from '#src/web/page-style.js';
import { repositoriesPage, repositoriesPart } from '#src/web/repositories-view.js';
import { historyPage, tagsPage } from '#src/web/repository-view.js';

const EVIL = `"><script>alert(1)</script><img src=x onerror='alert(1)'>\u202e`;
const NOW_MS = Date.UTC(2026, 10, 24, 12);
const visitor = { user: EVIL, maySignIn: true, version: EVIL };
const facts = {
  repository: EVIL,
  snapshot: '20261124T110000.000Z',
  removed: false,
  tags: 2,
  bytes: 5_000_000,
};
const drop = (state: InboxDrop['state']): InboxDrop => ({
  drop: EVIL,
  state,
  sinceMs: NOW_MS - 5000,
  reason: EVIL,
  hint: EVIL,
  code: EVIL,
  progress: { done: 30, total: 100 },
});
const part = (...states: InboxDrop['state'][]) => ({ drops: states.map(drop), count: 3 });
const inbox = {
  running: part('queued', 'publishing', 'retrying'),
  waiting: part('waiting', 'ignored'),
  rejected: part('rejected'),
  published: part('published', 'unchanged'),
};
const changed = (count: number) => ({ listed: [{ tag: EVIL, from: EVIL, to: EVIL }], count });
const looked = { visitor, nowMs: NOW_MS };
const row = {
  tag: EVIL,
  digest: EVIL,
  mediaType: EVIL,
  bytes: 1,
  platforms: [EVIL],
  children: [{ digest: EVIL, platform: EVIL, bytes: 1 }],
  attached: [
    { digest: EVIL, bytes: 1, artifactType: EVIL },
    { digest: EVIL, bytes: 1, tag: EVIL },
  ],
  attachedCount: 3,
  glance: { kind: 'image' as const, type: EVIL, platforms: [EVIL], named: [] },
  config: null,
  drop: EVIL,
  at: EVIL,
};
const search = { matching: 300, filter: EVIL, page: 2, pages: 3 };
const NO_REPOSITORIES = {
  rows: [],
  matching: 0,
  filter: '',
  order: 'name' as const,
  page: 1,
  pages: 1,
  inboxPath: undefined as string | undefined,
};
const evils = { items: [[EVIL, EVIL] as const], count: 2 };
const manifest = {
  kind: 'artifact' as const,
  type: EVIL,
  mediaType: EVIL,
  config: undefined,
  annotations: evils,
  layers: { items: [{ digest: EVIL, mediaType: EVIL, size: undefined, title: EVIL }], count: 2 },
  children: [
    { digest: EVIL, platform: EVIL, attests: undefined },
    { digest: EVIL, platform: undefined, attests: EVIL },
  ],
  subject: EVIL,
};
const config = { created: EVIL, platform: EVIL, fields: [[EVIL, EVIL] as const], labels: evils };
const called = { registry: EVIL, isEncrypted: false };
const VIEWS: Record<string, Html> = {
  repositories: repositoriesPage({
    repositories: {
      ...search,
      order: 'size',
      inboxPath: EVIL,
      rows: [
        { repository: EVIL, facts },
        { repository: EVIL, facts: { ...facts, removed: true } },
        { repository: EVIL, facts: 'unread' },
        { repository: EVIL, facts: 'damaged' },
      ],
    },
    tags: {
      found: [{ repository: EVIL, tag: EVIL, digest: EVIL, label: [EVIL, EVIL] }],
      isComplete: false,
    },
    inbox,
    ...looked,
  }),
  empty: repositoriesPage({
    repositories: NO_REPOSITORIES,
    tags: { found: [], isComplete: true },
    inbox: undefined,
    visitor: { user: undefined, maySignIn: true, version: '1.2.3' },
    nowMs: NOW_MS,
  }),
  inbox: inboxPage({ view: inbox, ...looked }),
  'inbox unseen': inboxPage({ view: undefined, ...looked }),
  tags: tagsPage({ facts, rows: [row], ...search, order: 'age' }, looked),
  image: imagePage(
    { facts, tag: EVIL, digest: EVIL, row, manifest, image: manifest, config, ...called },
    looked,
  ),
  'image by digest': imagePage(
    {
      facts,
      tag: undefined,
      digest: EVIL,
      row: undefined,
      manifest: undefined,
      image: undefined,
      config,
      ...called,
    },
    looked,
  ),
  help: helpPage({ visitor, inboxPath: EVIL, ...called }),
  history: historyPage(
    {
      facts,
      older: EVIL,
      target: EVIL,
      entries: [
        {
          snapshot: 'kept',
          at: facts.snapshot,
          state: 'kept',
          why: 'rollback',
          detail: EVIL,
          drops: [],
          changes: undefined,
        },
        {
          snapshot: EVIL,
          at: facts.snapshot,
          state: 'current',
          why: EVIL,
          detail: EVIL,
          drops: [EVIL, EVIL],
          by: [EVIL],
          changes: { added: changed(1), moved: changed(60), removed: changed(0) },
        },
      ],
    },
    looked,
  ),
  notice: notice({ title: EVIL, text: EVIL, visitor }),
};

describe('the views', () => {
  it('show the original reason of a compaction snapshot, though the previous one is gone', () => {
    const entry = { state: 'current', detail: undefined, drops: [], changes: undefined } as const;
    const of = (why: string) => {
      const entries = [{ snapshot: facts.snapshot, at: facts.snapshot, why, ...entry }];
      return historyPage({ facts, older: undefined, target: undefined, entries }, looked).text;
    };
    expect(of('clean')).to.contain('Cleaned: replaced').and.not.contain('are unknown');
    expect(of('publish')).to.contain('are unknown');
  });

  it('show who made a change, where it is known', () => {
    const entry = { snapshot: facts.snapshot, at: facts.snapshot, why: 'publish' };
    const rest = { state: 'current', detail: undefined, drops: [], changes: undefined } as const;
    const of = (by: readonly string[] | undefined) => {
      const entries = [{ ...entry, ...rest, ...(by && { by }) }];
      return historyPage({ facts, older: undefined, target: undefined, entries }, looked).text;
    };
    expect(of(['ann', 'bob'])).to.match(/Published by [^\n]*ann[^\n]*, [^\n]*bob/);
    expect(of(undefined)).not.to.contain('Published by');
  });

  for (const [name, { text }] of Object.entries(VIEWS)) {
    it(`${name}: escapes all displayed text`, () => {
      expect(text)
        .to.not.match(/<script>|<img|onerror='/)
        .and.not.contain('\u202e');
      expect(text.match(/<script/g), 'its own script alone').to.have.length(1);
      if (name !== 'empty' && name !== 'inbox unseen') expect(text).to.contain('&lt;script&gt;');
    });

    it(`${name}: is well-formed, with one top-level heading and nothing inline`, () => {
      expect(unclosed(text)).to.deep.equal([]);
      expect(text.match(/<h1/g)).to.have.length(1);
      expect(text).to.match(/^<!doctype html>\n<html lang="en">/);
      expect(text).to.not.match(/ style=|<style| on[a-z]+="|javascript:/);
      expect(text.match(/(?:href|src|action|data-live)="(?!\/|#)/g), 'all is our own').to.equal(
        null,
      );
      const ids = [...text.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
      expect(new Set(ids).size).to.equal(ids.length);
      for (const [, id] of text.matchAll(/(?:for|aria-labelledby)="([^"]*)"/g)) {
        expect(ids).to.include(id);
      }
    });
  }

  it('name the inbox and a command where nothing is published', () => {
    const of = (inboxPath: string | undefined) =>
      repositoriesPart(
        { ...NO_REPOSITORIES, inboxPath },
        { visitor: { ...visitor, maySignIn: false }, nowMs: NOW_MS },
      ).text;
    expect(of('/srv/inbox')).to.contain('Put an image into <code>/srv/inbox</code>');
    expect(of('/srv/inbox')).to.contain('oci:/srv/inbox/alpine:latest</code>');
    expect(of(undefined), 'not told').to.contain('Put an image into the inbox');
  });

  it('have the command to restore a kept snapshot, and a link to it', () => {
    const { history = { text: '' } } = VIEWS;
    expect(history.text).to.contain('<li id="s-kept">').and.contain('<a href="#s-kept">');
    const entry = { at: facts.snapshot, why: 'publish', detail: undefined, drops: [] };
    const entries = (['current', 'kept', 'gone'] as const).map((state) => ({
      ...entry,
      snapshot: state,
      state,
      changes: undefined,
    }));
    const named = { ...facts, repository: 'team/app' };
    const of = (target: string | undefined) =>
      historyPage({ facts: named, older: undefined, target, entries }, looked).text;
    expect(of(undefined).match(/dropdock rollback [^<]*/g)).to.deep.equal([
      'dropdock rollback team/app kept',
    ]);
    expect(of('store')).to.contain('dropdock rollback team/app kept --target store<');
  });

  it('show what waits, what runs and how far, what was rejected, why, and what to do', () => {
    const one: InboxDrop = {
      drop: 'team/app',
      state: 'publishing',
      sinceMs: NOW_MS,
      progress: { done: 430, total: 1000 },
    };
    const view = { ...inbox, running: { drops: [one], count: 1 } };
    for (const { text } of [inboxBrief(view, NOW_MS), inboxFull(view, NOW_MS)]) {
      expect(text).to.contain('<progress value="430" max="1000" aria-label="team/app">');
      expect(text).to.contain('43%');
      expect(text).to.contain('1 running, 3 waiting, 3 rejected.');
      expect(text).to.contain('and 1 more');
    }
    const past = { ...one, progress: { done: 2000, total: 1000 } };
    const full = inboxFull({ ...view, running: { drops: [past], count: 1 } }, NOW_MS).text;
    expect(full).to.contain('100%').and.contain('max="1000"');
  });

  it('show times for people and for machines, and handle invalid times', () => {
    const { tags = { text: '' } } = VIEWS;
    expect(tags.text).to.contain(
      '<time datetime="2026-11-24T11:00:00.000Z" title="2026-11-24 11:00:00 UTC">1h ago</time>',
    );
    expect(tags.text).to.contain('unknown');
    const ages = [0, 12_000, 60_000, 3_599_999, 3_600_000, 86_400_000 * 3].map(describeAge);
    expect(ages).to.deep.equal(['just now', '12s ago', '1m ago', '59m ago', '1h ago', '3d ago']);
    expect(describeAge(-5000)).to.equal('just now');
  });

  it('format counts for people', () => {
    expect([plural(0, 'tag'), plural(1, 'tag'), plural(5000, 'tag')]).to.deep.equal([
      'no tags',
      '1 tag',
      '5\u202f000 tags',
    ]);
    const digest = `sha256:${'a1'.repeat(32)}`;
    expect(shortenDigests(`missing: ${digest} (of ${digest})`)).to.equal(
      'missing: sha256:a1a1a1a1a1a1… (of sha256:a1a1a1a1a1a1…)',
    );
    expect(shortenDigests('deadbeef stays')).to.equal('deadbeef stays');
  });

  it('have distinguishable colours, on light and on dark backgrounds', () => {
    const [light = '', dark = ''] = STYLE.split('@media (prefers-color-scheme: dark)');
    for (const text of [light, dark]) {
      const colours = new Map(
        [...text.matchAll(/--(\w+): (#[0-9a-f]{6})/g)].map(([, key = '', value = '']) => [
          key,
          value,
        ]),
      );
      expect(colours.size).to.equal(10);
      for (const back of ['back', 'raised']) {
        for (const ink of ['ink', 'quiet', 'link', 'good', 'warn', 'bad']) {
          const ratio = contrast(colours.get(ink) ?? '', colours.get(back) ?? '');
          // WCAG 2.2, 1.4.3, AA.
          expect(ratio, `${ink} on ${back}`).to.be.at.least(4.5);
        }
      }
    }
  });

  it('request nothing from other hosts, including by script', () => {
    expect(SCRIPT).to.not.match(/https?:|eval|import\(/);
    expect(STYLE).to.not.match(/url\(|@import|https?:/);
  });
});

const VOID = new Set(['meta', 'link', 'input', 'img', 'br']);

/** Elements that are closed in the wrong order or not at all. */
function unclosed(text: string): string[] {
  const wrong: string[] = [];
  const open: string[] = [];
  for (const [, slash, name = ''] of text.matchAll(/<(\/?)([a-z][a-z0-9]*)(?: [^<>]*)?>/g)) {
    if (VOID.has(name)) continue;
    if (slash === '') open.push(name);
    else if (open.pop() !== name) wrong.push(`</${name}>`);
  }
  return [...wrong, ...open];
}

function contrast(one: string, two: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(two)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
