/** Selects the drops of the inbox that one visitor may see. */
import type { Caller } from '../auth/gate.js';
import type { RepositoryName } from '../image/names.js';
import type { Permission } from '../registry/permission.js';
import { resolveRepository } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import type { KnownDrop } from './daemon-view.js';
import type { InboxDrop, InboxView, Part } from './inbox-view.js';

/** Maximum number of drops of each kind. */
const SHOWN_MAX = 100;

export function inboxFor(
  caller: Caller,
  drops: readonly KnownDrop[],
  { settings, permission }: { readonly settings: Settings; readonly permission: Permission },
): InboxView {
  const mayReadAll = permission.mayReadAll(caller);
  const answers = new Map<RepositoryName, boolean>();
  const shown = new Map<KnownDrop['kind'], { drops: InboxDrop[]; count: number }>();
  for (const drop of drops) {
    if (!isFor(drop)) continue;
    const part = shown.get(drop.kind) ?? { drops: [], count: 0 };
    shown.set(drop.kind, part);
    part.count++;
    if (part.drops.length < SHOWN_MAX) part.drops.push(drop);
  }
  const partOf = (kind: KnownDrop['kind']): Part => shown.get(kind) ?? { drops: [], count: 0 };
  return {
    running: partOf('running'),
    waiting: partOf('waiting'),
    rejected: partOf('rejected'),
    published: partOf('published'),
  };

  function isFor({ repositories }: KnownDrop): boolean {
    if (mayReadAll) return true;
    return repositories.length > 0 && repositories.every(mayRead);
  }

  function mayRead(repository: RepositoryName): boolean {
    const known = answers.get(repository);
    if (known !== undefined) return known;
    const answer = permission.mayRead(caller, resolveRepository(settings, repository));
    answers.set(repository, answer);
    return answer;
  }
}
