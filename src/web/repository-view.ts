/** The views of one repository: its tags and its history. */

import type { SnapshotFacts, TagRow } from '../repository/summary.js';
import type { TagChange } from '../repository/tag-diff.js';
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { layout, PATHS, type Visitor } from './page-layout.js';
import * as parts from './page-parts.js';

export interface TagsView {
  readonly facts: SnapshotFacts;
  readonly rows: readonly (TagRow & { readonly shownPlatforms: readonly string[] })[];
  readonly matching: number;
  readonly filter: string;
  readonly order: 'tag' | 'age';
  readonly page: number;
  readonly pages: number;
  /** The registry's name in image references: `images.example.com`. */
  readonly registry: string;
  readonly isEncrypted: boolean;
}

interface Looked {
  readonly visitor: Visitor;
  readonly nowMs: number;
}

export function tagsPage(view: TagsView, { visitor, nowMs }: Looked): Html {
  const { facts, rows, filter, order, page, pages } = view;
  const path = `${PATHS.tags}${facts.repository}`;
  const sort = order === 'tag' ? 'tag' : undefined;
  const listed = rows.map((row) => [
    pull(view, row),
    parts.shortDigest(row.digest),
    row.shownPlatforms.join(', ') || '–',
    formatBytes(row.bytes),
    parts.agoOf(row.at, nowMs),
  ]);
  const orders = html`<p class="orders">Sorted by ${
    order === 'age'
      ? html`age, <a href="${parts.address(path, { q: filter, sort: 'tag' })}">by name</a>`
      : html`name, <a href="${parts.address(path, { q: filter })}">by age</a>`
  }</p>`;
  const search =
    (filter !== '' || facts.tags > 10) &&
    parts.searchForm({ action: path, label: 'Part of a tag', value: filter, keep: { sort } });
  return frame(view.facts, 'tags', { visitor, nowMs }, [
    facts.removed &&
      html`<p class="warn">This repository was removed; only running pulls are still served.</p>`,
    search,
    facts.tags > 1 && orders,
    rows.length === 0
      ? html`<p>${filter === '' ? 'This repository has no tags.' : `No tag contains “${filter}”.`}</p>`
      : parts.table('Tags', COLUMNS, listed, 'tags'),
    parts.pager({ path, query: { q: filter, sort }, page, pages }),
  ]);
}

const COLUMNS = [
  { label: 'Tag' },
  { label: 'Digest' },
  { label: 'Platforms' },
  { label: 'Size', isNumber: true },
  { label: 'Published', isNumber: true },
];

function pull({ facts, registry, isEncrypted }: TagsView, { tag, digest, drop }: TagRow): Html {
  const reference = `${registry}/${facts.repository}`;
  const unsafe = isEncrypted ? '' : ' --tls-verify=false';
  const commands = [
    `docker pull ${reference}:${tag}`,
    `docker pull ${reference}@${digest}`,
    `podman pull${unsafe} ${reference}:${tag}`,
    `skopeo copy${unsafe && ' --src-tls-verify=false'} docker://${reference}:${tag} oci:${tag}`,
  ];
  return html`<details class="tag"><summary>${parts.name(tag)}</summary>
${commands.map(parts.command)}
<p class="quiet">From the drop ${parts.name(drop)}</p></details>`;
}

/** One flip of a repository's history. */
export interface HistoryEntry {
  readonly snapshot: string;
  /** When it became current, as a timestamp. */
  readonly at: string;
  readonly state: 'current' | 'kept' | 'gone';
  readonly why: string;
  /** The snapshot that was rolled back to, or the removed tags. */
  readonly detail: string | undefined;
  readonly drops: readonly string[];
  /** The users who made it; empty if unknown. */
  readonly by?: readonly string[];
  /** Undefined if one of the two snapshots was removed. */
  readonly changes: Readonly<Record<'added' | 'moved' | 'removed', Changed>> | undefined;
}

export interface Changed {
  readonly listed: readonly TagChange[];
  readonly count: number;
}

export interface HistoryView {
  readonly facts: SnapshotFacts;
  readonly entries: readonly HistoryEntry[];
  /** The first snapshot of the next page. */
  readonly older: string | undefined;
}

export function historyPage({ facts, entries, older }: HistoryView, looked: Looked): Html {
  const path = `${PATHS.history}${facts.repository}`;
  return frame(facts, 'history', looked, [
    html`<p class="quiet">The changes of each publish, newest first. Rollback can restore any kept snapshot.</p>`,
    html`<ol class="history">
${entries.map((entry) => item(entry, looked.nowMs))}</ol>`,
    older !== undefined &&
      html`<p><a rel="next" href="${parts.address(path, { before: older })}">Older</a></p>`,
  ]);
}

const WHY: Readonly<Record<string, string>> = {
  publish: 'Published',
  rollback: 'Rolled back',
  untag: 'Tags removed',
  remove: 'Removed',
  clean: 'Cleaned: replaced manifests can no longer be pulled by digest',
  recovered: 'Published (recorded after a crash)',
};

function item(
  { snapshot, at, state, why, detail, drops, by = [], changes }: HistoryEntry,
  nowMs: number,
): Html {
  const said = WHY[why] ?? why;
  const from = drops.length > 0 && html` from ${names(drops)}`;
  const users = by.length > 0 && html` by ${names(by)}`;
  return html`<li>
<h2>${said}${why === 'rollback' && detail !== undefined && html` to ${detail}`}${users} <span class="quiet">${parts.agoOf(at, nowMs)}</span></h2>
<p class="quiet"><code>${snapshot}</code> <span class="badge ${state}">${state}</span>${from}${why !== 'rollback' && detail !== undefined && html` ${detail}`}</p>
${changes === undefined ? state !== 'gone' && why !== 'clean' && html`<p class="quiet">The previous snapshot was removed, so the changes are unknown.</p>` : changeLists(changes)}
</li>
`;
}

function names(all: readonly string[]): Shown {
  return all.map((each, n) => html`${n > 0 && ', '}${parts.name(each)}`);
}

function changeLists(changes: NonNullable<HistoryEntry['changes']>): Html {
  const { added, moved, removed } = changes;
  if (added.count + moved.count + removed.count === 0) {
    return html`<p class="quiet">No tag changed.</p>`;
  }
  return html`<div class="changes">
${lines('added', '+', added)}${lines('moved', '~', moved)}${lines('removed', '−', removed)}</div>`;
}

const OPEN_MAX = 8;

function lines(kind: string, sign: string, { listed, count }: Changed): Shown {
  if (count === 0) return undefined;
  const rows = listed.map(
    ({ tag, from, to }) => html`<li><b>${parts.name(tag)}</b> ${from && parts.shortDigest(from)}${
      from && to && html`<span aria-label="to"> → </span>`
    }${to && parts.shortDigest(to)}</li>
`,
  );
  const rest = count - listed.length;
  return html`<details class="${kind}"${count <= OPEN_MAX && html` open`}><summary><span aria-hidden="true">${sign}</span> ${parts.plural(count, 'tag')} ${kind}</summary>
<ul>
${rows}${rest > 0 && html`<li class="quiet">and ${parts.formatCount(rest)} more</li>`}</ul></details>
`;
}

function frame(
  { repository, tags, bytes, snapshot }: SnapshotFacts,
  here: 'tags' | 'history',
  { visitor, nowMs }: Looked,
  content: Shown,
): Html {
  const tab = (to: 'tags' | 'history', text: string) =>
    html`<a href="${PATHS[to]}${repository}"${here === to && html` aria-current="page"`}>${text}</a>`;
  return layout(
    { title: repository, visitor, here: undefined },
    html`<h1>${parts.name(repository)}</h1>
<p class="quiet">${parts.plural(tags, 'tag')}, ${formatBytes(bytes)}, changed ${parts.agoOf(snapshot, nowMs)}. Snapshot <code>${snapshot}</code></p>
<nav class="tabs" aria-label="${repository}">${tab('tags', 'Tags')} ${tab('history', 'History')}</nav>
${content}`,
  );
}
