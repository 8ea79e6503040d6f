/** The home page: all repositories that the visitor may read, and the inbox beside them. */
import type { SnapshotFacts } from '../repository/summary.js';
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { type InboxView, inboxAside } from './inbox-view.js';
import { layout, PATHS, type Visitor } from './page-layout.js';
import { agoOf, formatCount, name, pager, plural, searchForm, table } from './page-parts.js';

export interface RepositoryRow {
  readonly repository: string;
  /** `unread`: still being read; `damaged`: cannot be read. */
  readonly facts: SnapshotFacts | 'unread' | 'damaged';
}

export interface RepositoriesView {
  readonly rows: readonly RepositoryRow[];
  /** Number of matches on all pages. */
  readonly matching: number;
  readonly filter: string;
  readonly page: number;
  readonly pages: number;
}

export function repositoriesPage(given: {
  readonly repositories: RepositoriesView;
  readonly inbox: InboxView | undefined;
  readonly visitor: Visitor;
  readonly nowMs: number;
}): Html {
  const { repositories, inbox, visitor, nowMs } = given;
  const { rows, filter, matching, page, pages } = repositories;
  const found =
    filter === ''
      ? plural(matching, 'repository', 'repositories')
      : `${formatCount(matching)} found`;
  return layout(
    { title: 'Repositories', visitor, here: 'home' },
    html`<div class="columns">
<div>
<div class="heading"><h1>Repositories</h1> <span class="quiet">${found}</span></div>
${(filter !== '' || pages > 1 || rows.length > 10) && searchForm({ action: PATHS.home, label: 'Part of a name', value: filter })}
${
  rows.length === 0
    ? nothing(filter, visitor)
    : table(
        'Repositories',
        COLUMNS,
        rows.map((row) => cells(row, nowMs)),
      )
}
${pager({ path: PATHS.home, query: { q: filter }, page, pages })}
</div>
${inboxAside(inbox, nowMs)}
</div>`,
  );
}

const COLUMNS = [
  { label: 'Repository' },
  { label: 'Tags', isNumber: true },
  { label: 'Size', isNumber: true },
  { label: 'Changed', isNumber: true },
];

function cells({ repository, facts }: RepositoryRow, nowMs: number): Shown[] {
  const link = html`<a href="${PATHS.tags}${repository}">${name(repository)}</a>`;
  if (facts === 'unread') return [link, '…', '…', '…'];
  if (facts === 'damaged') return [link, html`<span class="bad">cannot be read</span>`, '–', '–'];
  const { removed, tags, bytes, snapshot } = facts;
  const count = removed ? html`<span class="warn">removed</span>` : formatCount(tags);
  return [link, count, formatBytes(bytes), agoOf(snapshot, nowMs)];
}

function nothing(filter: string, { maySignIn, user }: Visitor): Html {
  if (filter !== '') return html`<p>No repository name contains “${filter}”.</p>`;
  const here = 'Nothing is published yet. Put an image into the inbox to publish it.';
  if (!maySignIn || user !== undefined) return html`<p>${here}</p>`;
  return html`<p>No repository is public. <a href="${PATHS.signIn}">Sign in</a> to see more.</p>`;
}
