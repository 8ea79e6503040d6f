/** The page's style sheet and icon. Part of the program, so that no file is needed at run time. */

export const STYLE = `
:root {
  color-scheme: light dark;
  --back: #fbfbfa; --raised: #f1f2f1; --ink: #1c2126; --quiet: #56606a; --line: #d8dcdf;
  --link: #0a578a; --good: #17653a; --warn: #7d5200; --bad: #a0261c; --fill: #3b7fb0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #14171a; --raised: #1d2226; --ink: #e3e6e9; --quiet: #9ca7b1; --line: #333a41;
    --link: #84bdea; --good: #7fca9a; --warn: #e3b661; --bad: #f2958d; --fill: #4f93c5;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scrollbar-gutter: stable; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
a { color: var(--link); text-underline-offset: .15em; text-decoration-thickness: 1px; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px; }
main:focus { outline: none; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .25rem; font-weight: 650; }
h2 { font-size: 1rem; margin: 1.75rem 0 .4rem; font-weight: 650; }
h3 { font-size: .875rem; margin: 1rem 0 .25rem; font-weight: 650; }
p { margin: .4rem 0; }
code { font: .875em/1.4 ui-monospace, "DejaVu Sans Mono", "Liberation Mono", Menlo, monospace; }
h1, h2, th, td, li, p, b, code, bdi { overflow-wrap: anywhere; }
.quiet, .off { color: var(--quiet); }
.good { color: var(--good); }
.warn { color: var(--warn); }
.bad { color: var(--bad); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.skip { position: absolute; left: .5rem; top: -4rem; padding: .4rem .8rem; z-index: 1;
  background: var(--back); border: 2px solid var(--link); }
.skip:focus { top: .5rem; }

header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: baseline;
  padding: .7rem max(1rem, calc((100vw - 84rem) / 2)); border-bottom: 1px solid var(--line); }
header a { text-decoration: none; }
header a:hover { text-decoration: underline; }
header nav, .tabs { display: flex; gap: 1.25rem; }
[aria-current=page] { color: var(--ink); font-weight: 600; }
.brand { font-weight: 700; color: var(--ink); letter-spacing: .01em; }
.find { display: flex; flex: 0 1 18rem; min-width: 8rem; margin-left: auto; }
.find input { flex: 1 1 auto; width: 100%; }
.who { color: var(--quiet); }
.who:empty { display: none; }
footer { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; color: var(--quiet); font-size: .875rem;
  padding: .7rem max(1rem, calc((100vw - 84rem) / 2)); border-top: 1px solid var(--line); }
main { max-width: 86rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
body { display: flex; flex-direction: column; min-height: 100vh; }
main { width: 100%; flex: 1 0 auto; }

.columns { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem 3rem; }
@media (min-width: 66rem) { .columns { grid-template-columns: minmax(0, 1fr) 24rem; } }
.heading { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
aside { border-top: 1px solid var(--line); }
aside h2 { margin-top: .75rem; }
@media (min-width: 66rem) {
  aside { border-top: 0; border-left: 1px solid var(--line); padding-left: 1.5rem; }
  aside h2 { margin-top: .1rem; }
}

table { width: 100%; border-collapse: collapse; margin: .75rem 0; position: relative; }
thead th { font-size: .8125rem; font-weight: 500; color: var(--quiet); text-align: left; }
th, td { padding: .32rem 1.25rem .32rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
th[aria-sort]::after { content: " \\2193"; }
th[aria-sort=ascending]::after { content: " \\2191"; }
tbody th { text-align: left; font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody tr:hover { background: var(--raised); }
.digest { color: var(--quiet); }
@media (min-width: 44.01rem) {
  .tags, .drops-table { table-layout: fixed; }
  .tags th:nth-child(2) { width: 34%; }
  .tags th:nth-child(3) { width: 12.5rem; }
  .tags th:nth-child(4) { width: 6.5rem; }
  .tags th:nth-child(5) { width: 7rem; }
  .orders { display: none; }
  .drops-table th:first-child { width: 30%; }
  .drops-table th:last-child { width: 7rem; }
}
.count { font-weight: 500; color: var(--quiet); font-variant-numeric: tabular-nums; }

form.search { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .75rem 0; }
label { color: var(--quiet); }
input, button { font: inherit; color: inherit; background: var(--back); border: 1px solid var(--quiet);
  border-radius: 3px; padding: .2rem .6rem; }
input { flex: 1 1 8rem; min-width: 0; max-width: 24rem; }
button { background: var(--raised); cursor: pointer; }
.pager { display: flex; gap: 1.5rem; margin: 1rem 0; }
.tabs { border-bottom: 1px solid var(--line); margin: 1rem 0 .75rem; }
.tabs a { padding: .3rem 0; margin-bottom: -1px; text-decoration: none; }
.tabs [aria-current=page] { border-bottom: 2px solid var(--ink); }

summary { cursor: pointer; color: var(--link); width: fit-content; }
details > summary { font-size: .875rem; }
dl { margin: .5rem 0; }
dl > div { display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: 0 1.25rem; padding: .25rem 0;
  border-bottom: 1px solid var(--line); }
.named > div { grid-template-columns: minmax(0, 22rem) minmax(0, 1fr); }
dt { color: var(--quiet); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.found { list-style: none; margin: 0; padding: 0; }
.found li { padding: .32rem 0; border-bottom: 1px solid var(--line); }
.command { position: relative; background: var(--raised); border-radius: 3px; margin: .3rem 0;
  padding: .35rem 5.5rem .35rem .6rem; max-width: 70rem; font-weight: 400; }
.command code { user-select: all; }
.command button { position: absolute; right: .25rem; top: .2rem; width: 4.75rem; padding: 0;
  font-size: .8125rem; line-height: 1.6; background: var(--back); }

.state { font-weight: 500; }
.reason, .hint, .progress { display: block; font-weight: 400; }
.hint { color: var(--quiet); }
.progress { font-variant-numeric: tabular-nums; }
progress { width: 100%; max-width: 20rem; height: .5rem; display: block; appearance: none; border: 0;
  background: var(--line); color: var(--fill); border-radius: 4px; margin: .35rem 0 .15rem; }
progress::-webkit-progress-bar { background: var(--line); border-radius: 4px; }
progress::-webkit-progress-value { background: var(--fill); border-radius: 4px; }
progress::-moz-progress-bar { background: var(--fill); border-radius: 4px; }
.drops { list-style: none; margin: 0; padding: 0; font-size: .9375rem; }
.drops li { padding: .35rem 0; border-bottom: 1px solid var(--line); }
.drops .state { display: block; }
.drops .reason { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3;
  line-clamp: 3; overflow: hidden; }
.live-state { color: var(--quiet); font-size: .8125rem; min-height: 1.5em; margin: 0; }

.history { list-style: none; margin: 0; padding: 0; }
.history > li { border-bottom: 1px solid var(--line); padding: .75rem 0; }
.history h2 { margin: 0; }
.badge { border: 1px solid var(--line); border-radius: 3px; padding: 0 .35rem; font-size: .8125rem; }
.badge.current { border-color: var(--good); color: var(--good); }
.changes summary { font-variant-numeric: tabular-nums; }
.changes .added summary { color: var(--good); }
.changes .moved summary { color: var(--warn); }
.changes .removed summary { color: var(--bad); }
.changes ul { list-style: none; margin: .2rem 0 .5rem; padding-left: 1rem; }

@media (max-width: 44rem) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody { display: block; }
  tbody tr { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .5rem 0;
    border-bottom: 1px solid var(--line); }
  tbody th { flex: 1 0 100%; }
  th, td { border: 0; padding: 0; display: block; }
  td.number { text-align: left; white-space: normal; }
  td[data-label=State] { flex: 1 0 100%; }
  td[data-label]::before { content: attr(data-label) " "; color: var(--quiet); font-size: .8125rem; }
  td[data-label=State]::before, td[data-label=Digest]::before { content: none; }
  dl > div, .named > div { grid-template-columns: minmax(0, 1fr); }
  .find { flex: 1 0 100%; order: 1; }
}
@media (prefers-reduced-motion: no-preference) { .skip { transition: top .1s; } }
@media print { header nav, .skip, form, .tabs, .command button { display: none; } }
`;

export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M8 1v8m0 0L5 6m3 3 3-3M2 10v4h12v-4" fill="none" stroke="#3b7fb0" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>
`;
