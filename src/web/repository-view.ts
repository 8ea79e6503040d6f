/** The views of one repository: its tags and its history. */

import { KIND_NAMES } from '../image/content-kind.js';
import type { RowOrder, SnapshotFacts, TagRow } from '../repository/summary.js';
import type { TagChange } from '../repository/tag-diff.js';
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { attachedKind } from './image-details.js';
import { layout, PATHS, type Visitor } from './page-layout.js';
import * as parts from './page-parts.js';
import type { Glance } from './page-reader.js';

export interface TagsView {
  readonly facts: SnapshotFacts;
  readonly rows: readonly (TagRow & { readonly glance: Glance })[];
  readonly matching: number;
  readonly filter: string;
  readonly order: RowOrder;
  readonly page: number;
  readonly pages: number;
}

export interface Looked {
  readonly visitor: Visitor;
  readonly nowMs: number;
}

export function tagsPage(view: TagsView, looked: Looked): Html {
  const { facts, rows, filter, order, page, pages } = view;
  const { repository } = facts;
  const path = `${PATHS.tags}${repository}`;
  const sort = order === 'tag' ? undefined : order;
  const columns = columnsOf(path, view);
  const listed = rows.map((row) => [
    html`<a href="${parts.imageAddress(repository, { tag: row.tag })}">${parts.name(row.tag)}</a>`,
    contentOf(row),
    parts.shortDigest(row.digest),
    formatBytes(row.bytes),
    parts.agoOf(row.at, looked.nowMs),
  ]);
  const search =
    (filter !== '' || facts.tags > 10) &&
    parts.searchForm({
      action: path,
      label: 'Part of a tag, or a digest',
      value: filter,
      keep: { sort },
    });
  return frame(facts, 'tags', looked, [
    facts.removed &&
      html`<p class="warn">This repository was removed; only running pulls are still served. To restore it:</p>
${parts.command(`dropdock rollback ${repository}`)}`,
    search,
    facts.tags > 1 && parts.sortLinks(columns),
    rows.length === 0
      ? html`<p>${filter === '' ? 'This repository has no tags.' : `No tag contains “${filter}”.`}</p>`
      : parts.table('Tags', columns, listed, 'tags'),
    parts.pager({ path, query: { q: filter, sort }, page, pages }),
  ]);
}

function columnsOf(path: string, { filter, order }: TagsView): parts.Column[] {
  const by = (column: RowOrder, direction: 'ascending' | 'descending') => ({
    sort: parts.address(path, { q: filter, sort: column === 'tag' ? undefined : column }),
    sorted: order === column && direction,
  });
  return [
    { label: 'Tag', ...by('tag', 'ascending') },
    { label: 'Content' },
    { label: 'Digest' },
    { label: 'Size', isNumber: true, ...by('size', 'descending') },
    { label: 'Published', isNumber: true, ...by('age', 'descending') },
  ];
}

/** The platforms of an image, or what else it is; and what is attached. */
function contentOf({ glance, attached }: TagsView['rows'][number]): Shown {
  const { kind, platforms } = glance;
  const kinds = [...new Set(attached.map(attachedKind))].map((each) => KIND_NAMES[each]);
  const what = kind === 'image' ? platforms.join(', ') || '–' : KIND_NAMES[kind];
  return [what, kinds.map((each) => html` <span class="badge">${each}</span>`)];
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
  /** The target that a rollback must name; undefined if there is only one. */
  readonly target: string | undefined;
}

export function historyPage({ facts, entries, older, target }: HistoryView, looked: Looked): Html {
  const { repository } = facts;
  const path = `${PATHS.history}${repository}`;
  const isLatest = (at: number, name: string) =>
    entries.findIndex(({ snapshot }) => snapshot === name) === at;
  // A snapshot is in the history once, but an id must be unique even if the records are wrong.
  const kept = entries.filter(
    ({ state, snapshot }, at) => state === 'kept' && isLatest(at, snapshot),
  );
  const commandOf = (entry: HistoryEntry) =>
    kept.includes(entry)
      ? `dropdock rollback ${repository} ${entry.snapshot}${target === undefined ? '' : ` --target ${target}`}`
      : undefined;
  const links = kept.map(
    ({ snapshot, at }, n) =>
      html`${n > 0 && ', '}<a href="#s-${snapshot}">${parts.agoOf(at, looked.nowMs)}</a>`,
  );
  return frame(facts, 'history', looked, [
    html`<p class="quiet">The changes of each publish, newest first. ${
      kept.length > 0
        ? html`The state of these can be restored: ${links}.`
        : 'No earlier state on this page is kept, so none can be restored.'
    }</p>`,
    html`<ol class="history">
${entries.map((entry) => item(entry, commandOf(entry), looked.nowMs))}</ol>`,
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
  rollback: string | undefined,
  nowMs: number,
): Html {
  const said = WHY[why] ?? why;
  const from = drops.length > 0 && html` from ${names(drops)}`;
  const users = by.length > 0 && html` by ${names(by)}`;
  return html`<li${rollback !== undefined && html` id="s-${snapshot}"`}>
<h2>${said}${why === 'rollback' && detail !== undefined && html` to ${detail}`}${users} <span class="quiet">${parts.agoOf(at, nowMs)}</span></h2>
<p class="quiet"><code>${snapshot}</code> <span class="badge ${state}">${state}</span>${from}${why !== 'rollback' && detail !== undefined && html` ${detail}`}</p>
${changes === undefined ? state !== 'gone' && why !== 'clean' && html`<p class="quiet">The previous snapshot was removed, so the changes are unknown.</p>` : changeLists(changes)}
${rollback !== undefined && html`<details class="rollback"><summary>Restore this state</summary>${parts.command(rollback)}</details>`}
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

/** The head of every view of a repository. */
export function frame(
  { repository, tags, bytes, snapshot }: SnapshotFacts,
  here: 'tags' | 'history' | undefined,
  { visitor, nowMs }: Looked,
  content: Shown,
  title?: { readonly text: string; readonly about: Shown },
): Html {
  const tab = (to: 'tags' | 'history', text: string) =>
    html`<a href="${PATHS[to]}${repository}"${here === to && html` aria-current="page"`}>${text}</a>`;
  const about =
    title?.about ??
    html`${parts.plural(tags, 'tag')}, ${formatBytes(bytes)}, changed ${parts.agoOf(snapshot, nowMs)}. Snapshot <code>${snapshot}</code>`;
  return layout(
    { title: title?.text ?? repository, visitor, here: undefined },
    html`<h1>${parts.name(title?.text ?? repository)}</h1>
<p class="quiet">${about}</p>
<nav class="tabs" aria-label="${repository}">${tab('tags', 'Tags')} ${tab('history', 'History')}</nav>
${content}`,
  );
}
