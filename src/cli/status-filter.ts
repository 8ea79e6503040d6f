/** Limits the status of this host to one repository. Pure. */
import { type RepositoryName, repositoriesOfDropName } from '../image/names.js';
import { type HostStatus, isInInbox } from './status-text.js';

/**
 * Returns the drops that the repository may get. A bundle belongs to no repository before it is read, so it is
 * not shown.
 */
export function limitedTo(repository: RepositoryName, { inbox, ...rest }: HostStatus): HostStatus {
  const own = inbox.filter(({ drop }) => repositoriesOfDropName(drop).includes(repository));
  return { ...rest, inbox: own, waiting: own.filter(isInInbox).length };
}
