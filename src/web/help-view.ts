/** The page behind "Documentation": the usual commands for this registry, and where the manuals are. */

import { type Html, html } from './html.js';
import { layout, type Visitor } from './page-layout.js';
import { command, definitions } from './page-parts.js';
import { pullCommands } from './pull-commands.js';
import { exampleDrops } from './repositories-view.js';

export function helpPage(given: {
  readonly visitor: Visitor;
  readonly inboxPath: string | undefined;
  readonly registry: string;
  readonly isEncrypted: boolean;
}): Html {
  const { visitor, inboxPath } = given;
  const pulled = { kind: 'image', repository: 'team/app', tag: '1.0', digest: '' } as const;
  const [docker = '', , podman = ''] = pullCommands({ ...given, ...pulled, isIndex: false });
  return layout(
    { title: 'Documentation', visitor, here: undefined },
    html`<h1>Documentation</h1>
<h2>Publish</h2>
<p>Put an image into the inbox${inboxPath !== undefined && html`, <code>${inboxPath}</code>`}. The path below it is the name of the repository.</p>
${exampleDrops(inboxPath).map(command)}
<h2>Pull</h2>
${[docker, podman].map(command)}
<h2>Look and restore, on the host of dropdock</h2>
${['dropdock status', 'dropdock history team/app', 'dropdock rollback team/app'].map(command)}
<h2>Manuals</h2>
${definitions([
  [html`<code>man dropdock</code>`, 'the daemon and its commands'],
  [html`<code>man dropdock.yaml</code>`, 'all settings'],
  [
    html`<code>docs/</code>`,
    'in the package of dropdock: formats, errors, events, operation, this page',
  ],
])}`,
  );
}
