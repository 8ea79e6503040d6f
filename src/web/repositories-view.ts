/** The home page: all repositories that the visitor may read, what a search found, and the inbox. */
import type { SnapshotFacts } from '../repository/summary.js';
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { type InboxView, inboxAside, liveContent } from './inbox-view.js';
import { layout, PATHS, type Visitor } from './page-layout.js';
import * as parts from './page-parts.js';
import type { HomeList } from './page-route.js';
import type { FoundTag, FoundTags } from './page-search.js';

export interface RepositoryRow {
  readonly repository: string;
  /** `unread`: still being read; `damaged`: cannot be read. */
  readonly facts: SnapshotFacts | 'unread' | 'damaged';
}

export interface RepositoriesView extends HomeList {
  readonly rows: readonly RepositoryRow[];
  /** Number of matches on all pages. */
  readonly matching: number;
  readonly pages: number;
  /** The path of the inbox; undefined for visitors that may not know it, and in `serve`. */
  readonly inboxPath: string | undefined;
}

interface Looked {
  readonly visitor: Visitor;
  readonly nowMs: number;
}

export function repositoriesPage({
  repositories,
  tags,
  inbox,
  ...looked
}: Looked & {
  readonly repositories: RepositoriesView;
  /** What a search found in the repositories. */
  readonly tags: FoundTags;
  readonly inbox: InboxView | undefined;
}): Html {
  const { visitor, nowMs } = looked;
  const { filter, page } = repositories;
  const stream = parts.address(PATHS.live, {
    view: 'home',
    ...queryOf(repositories),
    page: page > 1 ? String(page) : undefined,
  });
  const list = repositoriesPart(repositories, looked);
  return layout(
    { title: 'Repositories', visitor, here: 'home', search: filter },
    html`<div class="columns">
<div>
${inbox === undefined ? list : liveContent(stream, 'repositories', list)}
${filter !== '' && foundTags(filter, tags)}
</div>
${inboxAside(inbox, stream, nowMs)}
</div>`,
  );
}

/** The list of repositories, which is sent again when it changes. */
export function repositoriesPart(view: RepositoriesView, { visitor, nowMs }: Looked): Html {
  const { rows, filter, matching, page, pages } = view;
  const found =
    filter === ''
      ? parts.plural(matching, 'repository', 'repositories')
      : `${parts.formatCount(matching)} found`;
  const columns = columnsOf(view);
  return html`<div class="heading"><h1>Repositories</h1> <span class="quiet">${found}</span>${filter !== '' && html` <a href="${PATHS.home}">Show all</a>`}</div>
${
  rows.length === 0
    ? nothing(view, visitor)
    : [
        rows.length > 1 && parts.sortLinks(columns),
        parts.table(
          'Repositories',
          columns,
          rows.map((row) => cells(row, nowMs)),
        ),
      ]
}
${parts.pager({ path: PATHS.home, query: queryOf(view), page, pages })}`;
}

function queryOf({ filter, order }: HomeList): Record<string, string | undefined> {
  return { q: filter, sort: order === 'name' ? undefined : order };
}

function columnsOf({ filter, order }: HomeList): parts.Column[] {
  const by = (column: HomeList['order'], direction: 'ascending' | 'descending') => ({
    sort: parts.address(PATHS.home, queryOf({ filter, order: column, page: 1 })),
    sorted: order === column && direction,
  });
  return [
    { label: 'Repository', ...by('name', 'ascending') },
    { label: 'Tags', isNumber: true },
    { label: 'Size', isNumber: true, ...by('size', 'descending') },
    { label: 'Changed', isNumber: true, ...by('age', 'descending') },
  ];
}

function cells({ repository, facts }: RepositoryRow, nowMs: number): Shown[] {
  const link = html`<a href="${PATHS.tags}${repository}">${parts.name(repository)}</a>`;
  if (facts === 'unread') return [link, '…', '…', '…'];
  if (facts === 'damaged') return [link, html`<span class="bad">cannot be read</span>`, '–', '–'];
  const { removed, tags, bytes, snapshot } = facts;
  const count = removed ? html`<span class="warn">removed</span>` : parts.formatCount(tags);
  return [link, count, formatBytes(bytes), parts.agoOf(snapshot, nowMs)];
}

function nothing({ filter, inboxPath }: RepositoriesView, { maySignIn, user }: Visitor): Html {
  if (filter !== '') return html`<p>No repository name contains “${filter}”.</p>`;
  if (maySignIn && user === undefined) {
    return html`<p>No repository is public. <a href="${PATHS.signIn}">Sign in</a> to see more.</p>`;
  }
  const inbox = inboxPath === undefined ? 'the inbox' : html`<code>${inboxPath}</code>`;
  return html`<p>Nothing is published yet. Put an image into ${inbox} to publish it, for example:</p>
${exampleDrops(inboxPath).map(parts.command)}`;
}

/** Commands that put an image into the inbox. */
export function exampleDrops(inboxPath: string | undefined): string[] {
  const inbox = inboxPath ?? 'INBOX';
  return [
    `skopeo copy docker://docker.io/library/alpine:latest oci:${inbox}/alpine:latest`,
    `docker save alpine:latest -o ${inbox}/alpine:latest.tar`,
  ];
}

function foundTags(filter: string, { found, isComplete }: FoundTags): Html {
  const items = found.map(
    (each) => html`<li>${foundTag(each)}</li>
`,
  );
  return html`<section aria-labelledby="found">
<h2 id="found">Tags, digests and labels${found.length > 0 && html` <span class="count">${found.length}</span>`}</h2>
${
  found.length > 0
    ? html`<ul class="found">
${items}</ul>`
    : isComplete && html`<p class="quiet">No tag, digest or label contains “${filter}”.</p>`
}
${!isComplete && html`<p class="quiet">The search ended before it was through. Reload the page to continue, or search for more of the text.</p>`}
</section>`;
}

function foundTag({ repository, tag, digest, label }: FoundTag): Html {
  const [key, text] = label ?? [];
  return html`<a href="${parts.imageAddress(repository, { tag })}">${parts.name(`${repository}:${tag}`)}</a> ${parts.shortDigest(digest)}${key !== undefined && html` <span class="quiet">${parts.name(key)} = ${parts.name(text ?? '')}</span>`}`;
}
