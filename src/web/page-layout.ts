/** The frame around every view. The content security policy allows nothing foreign and nothing inline. */
import { type Html, html, type Shown } from './html.js';

/** Paths of the page. `/-/` cannot start a repository name, a Pulp path or a path of the spec. */
export const PATHS = {
  home: '/',
  inbox: '/-/inbox',
  live: '/-/live',
  tags: '/-/tags/',
  /** `/-/image/<repository>:<tag>` or `/-/image/<repository>@<digest>` */
  image: '/-/image/',
  history: '/-/history/',
  style: '/-/page.css',
  script: '/-/page.js',
  icon: '/-/icon.svg',
  help: '/-/help',
  /** At the root path, so that browsers send the password for all paths below. */
  signIn: '/?sign-in',
} as const;

/** The user of the page. */
export interface Visitor {
  /** Undefined without a sign-in. */
  readonly user: string | undefined;
  /** True if a sign-in could show more. */
  readonly maySignIn: boolean;
  /** The version of dropdock, for the footer; undefined for visitors that may see nothing. */
  readonly version: string | undefined;
}

export interface Frame {
  readonly title: string;
  readonly visitor: Visitor;
  readonly here: 'home' | 'inbox' | undefined;
  /** The text that was searched for. */
  readonly search?: string;
}

export function layout({ title, visitor, here, search = '' }: Frame, main: Shown): Html {
  const link = (to: 'home' | 'inbox', text: string) =>
    html`<a href="${PATHS[to]}"${here === to && html` aria-current="page"`}>${text}</a>`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · dropdock</title>
<link rel="stylesheet" href="${PATHS.style}">
<link rel="icon" href="${PATHS.icon}" type="image/svg+xml">
<script src="${PATHS.script}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="${PATHS.home}">dropdock</a>
<nav aria-label="Views">${link('home', 'Repositories')} ${link('inbox', 'Inbox')}</nav>
<form class="find" role="search" action="${PATHS.home}" method="get">
<label class="hidden" for="find">Search repositories, tags, digests and labels</label>
<input id="find" name="q" type="search" value="${search}" placeholder="Search" title="Repositories, tags, digests and labels. The key / goes here." maxlength="200" autocomplete="off" spellcheck="false" aria-keyshortcuts="/">
</form>
<span class="who">${who(visitor)}</span>
</header>
<main id="main" tabindex="-1">
${main}
</main>
<footer>dropdock ${visitor.version} <a href="${PATHS.help}">Documentation</a></footer>
</body>
</html>
`;
}

function who({ user, maySignIn }: Visitor): Shown {
  if (user !== undefined) return html`Signed in as <b><bdi>${user}</bdi></b>`;
  return maySignIn && html`<a href="${PATHS.signIn}">Sign in</a>`;
}

/** A page with one sentence and a link, for requests without content. */
export function notice(given: {
  readonly title: string;
  readonly text: string;
  readonly visitor: Visitor;
}): Html {
  const { title, text, visitor } = given;
  return layout(
    { title, visitor, here: undefined },
    html`<h1>${title}</h1>
<p>${text}</p>
<p>${visitor.maySignIn && visitor.user === undefined && html`<a href="${PATHS.signIn}">Sign in</a> or `}<a href="${PATHS.home}">see all repositories</a>.</p>`,
  );
}
