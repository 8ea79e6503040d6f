/** The inbox: what runs, what waits and why, what was refused and why, what came out of it last. */
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import { layout, PATHS, type Visitor } from './page-layout.js';
import { ago, name, plural, shortenDigests, table } from './page-parts.js';

export type DropState =
  | 'waiting'
  /** Not taken, and left where it lies. */
  | 'ignored'
  | 'queued'
  | 'publishing'
  /** The system failed; it is tried again. */
  | 'retrying'
  | 'rejected'
  | 'published'
  /** All of it was there already. */
  | 'unchanged';

export interface InboxDrop {
  /** Its path below the inbox. */
  readonly drop: string;
  readonly state: DropState;
  /** Since when it is so (ms). */
  readonly sinceMs: number;
  /** Why it waits, was refused or is tried again. */
  readonly reason?: string;
  /** What to do about it. */
  readonly hint?: string;
  readonly code?: string;
  /** Bytes read, and how many there are where that is known. */
  readonly progress?: { readonly done: number; readonly total: number | undefined };
}

/** What one visitor may see, of each kind the first, and how many he may see in all. */
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
  waiting: 'Nothing waits.',
  rejected: 'Nothing was refused.',
  published: 'Nothing was published since the daemon started.',
} as const;

const HEADINGS = {
  running: 'Running',
  waiting: 'Waiting',
  rejected: 'Rejected',
  published: 'Published last',
} as const;

type Kind = keyof InboxView;

/** @param view undefined where this process does not see the inbox */
export function inboxPage(given: {
  readonly view: InboxView | undefined;
  readonly visitor: Visitor;
  readonly nowMs: number;
}): Html {
  const { view, visitor, nowMs } = given;
  return layout(
    { title: 'Inbox', visitor, here: 'inbox' },
    html`<h1>Inbox</h1>
${view === undefined ? html`<p>${UNSEEN}</p>` : live('full', inboxFull(view, nowMs))}`,
  );
}

/** Beside the repositories. */
export function inboxAside(view: InboxView | undefined, nowMs: number): Html {
  return html`<aside aria-labelledby="inbox">
<h2 id="inbox"><a href="${PATHS.inbox}">Inbox</a></h2>
${view === undefined ? html`<p class="quiet">${UNSEEN}</p>` : live('brief', inboxBrief(view, nowMs))}
</aside>`;
}

const UNSEEN =
  'This process serves what is published and does not see the inbox. Ask the one that publishes ' +
  '(dropdock run), or use dropdock status on its host.';

export type LiveView = 'brief' | 'full';

/** What is between is sent again whenever it changes; without scripts it is as it was when asked for. */
function live(view: LiveView, content: Html): Html {
  return html`<p class="live-state"><noscript>As of now; reload to see it anew.</noscript></p>
<div data-live="${PATHS.live}?view=${view}">${content}</div>`;
}

export function inboxFull(view: InboxView, nowMs: number): Html {
  return html`${sentence(view)}
${(['running', 'waiting', 'rejected', 'published'] as const).map((kind) => section(kind, view[kind], nowMs))}`;
}

function section(kind: Kind, { drops, count }: Part, nowMs: number): Html {
  const rows = drops.map((drop) => [name(drop.drop), details(drop), ago(drop.sinceMs, nowMs)]);
  const columns = [
    { label: 'Drop' },
    { label: 'What happens' },
    { label: 'Since', isNumber: true },
  ];
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

/** The one thing that is read out when it changes. */
function sentence({ running, waiting, rejected }: InboxView): Html {
  const parts = [
    running.count > 0 && `${running.count} running`,
    waiting.count > 0 && `${waiting.count} waiting`,
    rejected.count > 0 && `${rejected.count} rejected`,
  ].filter(Boolean);
  const text = parts.length === 0 ? 'Nothing waits, nothing runs.' : `${parts.join(', ')}.`;
  return html`<p class="sum">${text}</p>`;
}

const WORDS: Readonly<Record<DropState, string>> = {
  waiting: 'not still yet',
  ignored: 'not taken',
  queued: 'waits for its turn',
  publishing: 'publishing',
  retrying: 'the system failed; it is tried again',
  rejected: 'refused',
  published: 'published',
  unchanged: 'nothing new in it',
};

const TONES: Partial<Record<DropState, string>> = {
  retrying: 'warn',
  rejected: 'bad',
  published: 'good',
  publishing: 'good',
};

function details({ drop, state, reason, hint, code, progress }: InboxDrop): Html {
  const word = state === 'waiting' && reason ? 'waits' : WORDS[state];
  const text = reason && html`<span class="reason">${reason}</span>`;
  return html`<span class="state ${TONES[state]}">${word}${code && html` <code>${code}</code>`}</span>
${state === 'publishing' && progress && bar(drop, progress)}${text}${hint && html`<span class="hint">${hint}</span>`}`;
}

/** What the repository has already is not read again, so the end may come early. */
function bar(drop: string, { done, total }: NonNullable<InboxDrop['progress']>): Html {
  if (total === undefined || total === 0)
    return html`<span class="reason">${formatBytes(done)} read</span>`;
  const read = Math.min(done, total);
  return html`<span class="progress"><progress value="${read}" max="${total}" aria-label="${drop}"></progress>
<span>${Math.floor((read / total) * 100)}%, ${formatBytes(read)} of ${formatBytes(total)}</span></span>`;
}
