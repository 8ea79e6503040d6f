/** Parts that all views use: times, sizes, digests, tables, commands. */
import { isTimestamp, timestampMs } from '../repository/timestamp.js';
import { formatAge } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { PATHS } from './page-layout.js';

export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** `1 tag`, `2 tags`, `no tags` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count === 0 ? 'no' : formatCount(count)} ${count === 1 ? one : many}`;
}

/** `just now`, `12s ago`, `3h ago`, `2d ago` */
export function describeAge(ms: number): string {
  return ms < 1000 ? 'just now' : `${formatAge(ms)} ago`;
}

/** The age, with the exact time as attribute and tooltip. */
export function ago(atMs: number, nowMs: number): Html {
  if (!Number.isFinite(atMs) || Math.abs(atMs) > 8e15) return html`unknown`;
  const iso = new Date(atMs).toISOString();
  const exact = `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
  return html`<time datetime="${iso}" title="${exact}">${describeAge(nowMs - atMs)}</time>`;
}

/** @param timestamp a snapshot's name */
export function agoOf(timestamp: string, nowMs: number): Html {
  return ago(isTimestamp(timestamp) ? timestampMs(timestamp) : Number.NaN, nowMs);
}

/** The first digits of a digest; the tooltip has all of them. */
export function shortDigest(digest: string | null): Html {
  if (digest === null) return html`–`;
  return html`<code class="digest" title="${digest}">${digest.slice(0, 19)}…</code>`;
}

/** The address of the page of a tag or of a digest. */
export function imageAddress(
  repository: string,
  reference: { readonly tag: string } | { readonly digest: string },
): string {
  const named = 'tag' in reference ? `:${reference.tag}` : `@${reference.digest}`;
  return `${PATHS.image}${repository}${named}`;
}

/** Shortens the digests in a text to twelve digits. */
export function shortenDigests(text: string): string {
  return text.replace(
    /\b(sha256:|sha256\/|sha512:|sha512\/)?([0-9a-f]{12})[0-9a-f]{52,116}\b/g,
    '$1$2…',
  );
}

/** Links to a list by other columns, for narrow screens, where the table has no head. */
export function sortLinks(columns: readonly Column[]): Html {
  const links = columns
    .filter(({ sort }) => sort !== undefined)
    .map(({ label, sort, sorted }) =>
      sorted ? html` <b>${label}</b>` : html` <a href="${sort}">${label}</a>`,
    );
  return html`<p class="orders quiet">Sorted by${links}</p>`;
}

/** Names and texts, one line for each. */
export function definitions(
  items: readonly (readonly [name: Shown, text: Shown])[],
  kind?: string,
): Html {
  const lines = items.map(
    ([term, text]) => html`<div><dt>${term}</dt><dd>${text}</dd></div>
`,
  );
  return html`<dl${kind !== undefined && html` class="${kind}"`}>
${lines}</dl>`;
}

/** A command to copy. The script adds the button; the style reserves its space, so that nothing moves. */
export function command(text: string): Html {
  return html`<div class="command"><code>${text}</code></div>`;
}

/** A drop's or repository's name; its writing direction must not affect the text after it. */
export function name(text: string): Html {
  return html`<bdi>${text}</bdi>`;
}

export interface Column {
  readonly label: string;
  /** True: aligned to the right. */
  readonly isNumber?: boolean;
  /** The address of the same list, sorted by this column. */
  readonly sort?: string;
  /** The column by which the list is sorted. */
  readonly sorted?: 'ascending' | 'descending' | false;
}

/**
 * A table whose rows become blocks on narrow screens. With such styles some screen readers no longer recognize
 * a table; the roles restore it.
 */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly Shown[])[],
  kind?: string,
): Html {
  const head = columns.map(
    ({ label, isNumber, sort, sorted }) =>
      html`<th scope="col" role="columnheader"${isNumber && html` class="number"`}${sorted && html` aria-sort="${sorted}"`}>${sort !== undefined && !sorted ? html`<a href="${sort}">${label}</a>` : label}</th>`,
  );
  const body = rows.map(
    (cells) => html`<tr role="row">${cells.map((cell, at) => toCell(cell, columns[at], at))}</tr>
`,
  );
  return html`<table role="table"${kind !== undefined && html` class="${kind}"`}><caption class="hidden">${caption}</caption>
<thead role="rowgroup"><tr role="row">${head}</tr></thead>
<tbody role="rowgroup">
${body}</tbody></table>`;
}

function toCell(cell: Shown, column: Column | undefined, at: number): Html {
  if (at === 0) return html`<th scope="row" role="rowheader">${cell}</th>`;
  const { label = '', isNumber } = column ?? {};
  return html`<td role="cell" data-label="${label}"${isNumber && html` class="number"`}>${cell}</td>`;
}

/** A search form with GET, so that the URL contains the search. */
export function searchForm(given: {
  readonly action: string;
  readonly label: string;
  readonly value: string;
  readonly keep?: Readonly<Record<string, string | undefined>>;
}): Html {
  const { action, label, value, keep = {} } = given;
  const kept = Object.entries(keep).map(
    ([key, text]) =>
      text !== undefined && html`<input type="hidden" name="${key}" value="${text}">`,
  );
  return html`<form class="search" role="search" action="${action}" method="get">
<label for="q">${label}</label>
<input id="q" name="q" type="search" value="${value}" maxlength="200" autocomplete="off" spellcheck="false">${kept}
<button>Search</button>${value !== '' && html` <a href="${address(action, keep)}">Show all</a>`}
</form>`;
}

/** @param page counted from 1 */
export function pager(given: {
  readonly path: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly page: number;
  readonly pages: number;
}): Html | undefined {
  const { path, query, page, pages } = given;
  if (pages <= 1) return undefined;
  const link = (to: number, text: string, rel: string) =>
    to >= 1 && to <= pages
      ? html`<a rel="${rel}" href="${address(path, { ...query, page: String(to) })}">${text}</a>`
      : html`<span class="off">${text}</span>`;
  return html`<nav class="pager" aria-label="Pages">${link(page - 1, 'Previous', 'prev')}
<span>Page ${formatCount(page)} of ${formatCount(pages)}</span>
${link(page + 1, 'Next', 'next')}</nav>`;
}

/** @param path a path of the page; repository names need no escaping in it */
export function address(
  path: string,
  query: Readonly<Record<string, string | undefined>> = {},
): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given as [string, string][]).toString();
  return text === '' ? path : `${path}?${text}`;
}
