/** The view of the inbox: running, waiting, rejected and recently published drops. */
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { layout, PATHS, type Visitor } from './page-layout.js';
import { ago, name, plural, shortenDigests, table } from './page-parts.js';

export type DropState =
  | 'waiting'
  /** Not a drop; left in the inbox. */
  | 'ignored'
  /** Published from a copy; the drop stays in the inbox. */
  | 'left'
  /** It may not be read. */
  | 'unreadable'
  | 'queued'
  | 'publishing'
  /** A system error; it will be retried. */
  | 'retrying'
  | 'rejected'
  | 'published'
  /** The repository already had all its content. */
  | 'unchanged';

export interface InboxDrop {
  /** Its path below the inbox. */
  readonly drop: string;
  readonly state: DropState;
  /** When it entered this state (ms since the epoch). */
  readonly sinceMs: number;
  /** Why it waits, was rejected or is retried. */
  readonly reason?: string;
  /** What to do. */
  readonly hint?: string;
  readonly code?: string;
  /** Bytes read, and all bytes if known. */
  readonly progress?: { readonly done: number; readonly total: number | undefined };
}

/** What one visitor may see: the first drops of each kind, and their number. */
export interface InboxView {
  readonly running: Part;
  readonly waiting: Part;
  readonly rejected: Part;
  readonly published: Part;
}

export interface Part {
  readonly drops: readonly InboxDrop[];
  readonly count: number;
}

const EMPTY = {
  running: 'Nothing is being published.',
  waiting: 'No drop is waiting.',
  rejected: 'No drop was rejected.',
  published: 'Nothing was published since the daemon started.',
} as const;

const HEADINGS = {
  running: 'Running',
  waiting: 'Waiting',
  rejected: 'Rejected',
  published: 'Recently published',
} as const;

type Kind = keyof InboxView;

/** @param view undefined in `serve`, which does not read the inbox */
export function inboxPage(given: {
  readonly view: InboxView | undefined;
  readonly visitor: Visitor;
  readonly nowMs: number;
}): Html {
  const { view, visitor, nowMs } = given;
  return layout(
    { title: 'Inbox', visitor, here: 'inbox' },
    html`<h1>Inbox</h1>
${view === undefined ? html`<p>${UNSEEN}</p>` : live(`${PATHS.live}?view=full`, 'inbox', inboxFull(view, nowMs))}`,
  );
}

/** The column beside the repositories. @param stream the address of the page's updates */
export function inboxAside(view: InboxView | undefined, stream: string, nowMs: number): Html {
  return html`<aside aria-labelledby="inbox">
<h2 id="inbox"><a href="${PATHS.inbox}">Inbox</a></h2>
${view === undefined ? html`<p class="quiet">${UNSEEN}</p>` : live(stream, 'inbox', inboxBrief(view, nowMs))}
</aside>`;
}

const UNSEEN =
  'This process only serves images and does not read the inbox. Open the page of the daemon ' +
  '(dropdock run), or run dropdock status on its host.';

/** The parts of pages that are sent again. */
export type LivePart = 'inbox' | 'repositories';

/** Content that is sent again whenever it changes; without scripts it stays as loaded. */
function live(stream: string, part: LivePart, content: Html): Html {
  return html`<p class="live-state"><noscript>Reload the page to update.</noscript></p>
${liveContent(stream, part, content)}`;
}

/** The same without a line that tells whether it is live. */
export function liveContent(stream: string, part: LivePart, content: Html): Html {
  return html`<div data-live="${stream}" data-part="${part}">${content}</div>`;
}

export function inboxFull(view: InboxView, nowMs: number): Html {
  return html`${sentence(view)}
${(['running', 'waiting', 'rejected', 'published'] as const).map((kind) => section(kind, view[kind], nowMs))}`;
}

function section(kind: Kind, { drops, count }: Part, nowMs: number): Html {
  const rows = drops.map((drop) => [name(drop.drop), details(drop), ago(drop.sinceMs, nowMs)]);
  const columns = [{ label: 'Drop' }, { label: 'State' }, { label: 'Since', isNumber: true }];
  return html`<section aria-labelledby="at-${kind}">
<h2 id="at-${kind}">${HEADINGS[kind]}${count > 0 && html` <span class="count">${count}</span>`}</h2>
${drops.length === 0 ? html`<p class="quiet">${EMPTY[kind]}</p>` : table(HEADINGS[kind], columns, rows, 'drops-table')}
${more(count - drops.length)}
</section>
`;
}

const BRIEF_MAX = 5;

export function inboxBrief(view: InboxView, nowMs: number): Html {
  const parts = (['running', 'waiting', 'rejected'] as const).map((kind) => {
    const { drops, count } = view[kind];
    if (count === 0) return undefined;
    const shown = drops.slice(0, BRIEF_MAX).map(withShortReason);
    const items = shown.map(
      (
        drop,
      ) => html`<li><b>${name(drop.drop)}</b> <span class="quiet">${ago(drop.sinceMs, nowMs)}</span>
${details(drop)}</li>
`,
    );
    return html`<h3>${HEADINGS[kind]} <span class="count">${count}</span></h3>
<ul class="drops">
${items}</ul>
${more(count - shown.length)}`;
  });
  return html`${sentence(view)}
${parts}`;
}

function withShortReason({ reason, ...drop }: InboxDrop): InboxDrop {
  return reason === undefined ? drop : { ...drop, reason: shortenDigests(reason) };
}

function more(count: number): Shown {
  return count > 0 && html`<p class="quiet">and ${plural(count, 'more', 'more')}</p>`;
}

/** The summary; screen readers announce its changes. */
function sentence({ running, waiting, rejected }: InboxView): Html {
  const parts = [
    running.count > 0 && `${running.count} running`,
    waiting.count > 0 && `${waiting.count} waiting`,
    rejected.count > 0 && `${rejected.count} rejected`,
  ].filter(Boolean);
  const text = parts.length === 0 ? 'No drop is waiting or running.' : `${parts.join(', ')}.`;
  return html`<p class="sum">${text}</p>`;
}

const WORDS: Readonly<Record<DropState, string>> = {
  waiting: 'still being written',
  ignored: 'ignored',
  left: 'stays in the inbox',
  unreadable: 'cannot be read',
  queued: 'queued',
  publishing: 'publishing',
  retrying: 'system error; will be retried',
  rejected: 'rejected',
  published: 'published',
  unchanged: 'no new content',
};

const TONES: Partial<Record<DropState, string>> = {
  retrying: 'warn',
  left: 'warn',
  unreadable: 'bad',
  rejected: 'bad',
  published: 'good',
  publishing: 'good',
};

function details({ drop, state, reason, hint, code, progress }: InboxDrop): Html {
  const word = state === 'waiting' && reason ? 'waiting' : WORDS[state];
  const text = reason && html`<span class="reason">${reason}</span>`;
  return html`<span class="state ${TONES[state]}">${word}${code && html` <code>${code}</code>`}</span>
${state === 'publishing' && progress && bar(drop, progress)}${text}${hint && html`<span class="hint">${hint}</span>`}`;
}

/** Content that the repository has already is not read again, so reading may end before 100 %. */
function bar(drop: string, { done, total }: NonNullable<InboxDrop['progress']>): Html {
  if (total === undefined || total === 0)
    return html`<span class="reason">${formatBytes(done)} read</span>`;
  const read = Math.min(done, total);
  return html`<span class="progress"><progress value="${read}" max="${total}" aria-label="${drop}"></progress>
<span>${Math.floor((read / total) * 100)}%, ${formatBytes(read)} of ${formatBytes(total)}</span></span>`;
}
