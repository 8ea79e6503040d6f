/** Examples for the help of each command; the manual page shows them as well. */

/** By command: a command line, and what it does. */
export const EXAMPLES: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  run: [['dropdock run --root /srv/dropdock', 'inbox, published and state below one directory']],
  serve: [['dropdock serve', 'answer pulls; another process publishes']],
  publish: [
    ['dropdock publish app.tar --as team/app:1.2', 'publish an archive'],
    ['docker save app:1 | dropdock publish - --as app:1', 'publish standard input'],
  ],
  status: [
    ['dropdock status --watch', 'show what happens in the inbox'],
    ['dropdock status team/app', 'show one repository with its tags and drops'],
  ],
  history: [['dropdock history team/app', 'show its snapshots, newest first']],
  rollback: [
    ['dropdock rollback team/app', 'restore the previous state; run it again to undo'],
    ['dropdock rollback team/app 20261123T152635.135Z', 'restore the state of this snapshot'],
  ],
  untag: [['dropdock untag team/app 1.2 1.3', 'remove two tags']],
  remove: [['dropdock remove team/app', 'remove a repository; dropdock rollback restores it']],
  verify: [
    ['dropdock verify', 'read and check everything'],
    ['dropdock verify team/app --repair', 'repair one repository'],
  ],
  clean: [['dropdock clean --dry-run', 'show what would be removed, and why the rest is kept']],
  copy: [['dropdock copy --from local --to eu team/app', 'copy one repository to an object store']],
  config: [['dropdock config', 'show the settings, with the file or variable each comes from']],
  init: [['dropdock init --root /srv/dropdock', 'create the directories']],
};

/** Exit codes, for the help and the manual page. */
export const EXIT_CODES: readonly (readonly [string, string])[] = [
  ['0', 'done'],
  ['1', 'the content was rejected'],
  ['2', 'invalid command line or settings'],
  ['3', 'the system failed'],
  ['75', 'busy: another process holds the lock; try again'],
];

/** Returns a section as commander prints its own ones. */
export function helpSection(heading: string, rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([term]) => term.length));
  const lines = rows.map(([term, what]) => `  ${term.padEnd(width)}  ${what}`);
  return `\n${heading}:\n${lines.join('\n')}`;
}
