/** Logs the events of drops and repositories; docs/events.md documents them. */
import type { Log, LogFields } from '../log.js';
import type { EmitEvent, PublishEvent } from '../publisher/events.js';
import type { PublishedOutcome } from '../publisher/target.js';
import { errorFields } from '../report.js';
import { formatSeconds } from '../units.js';

/** @returns a subscriber that logs */
export function logEvents(log: Log): EmitEvent {
  return (event) => {
    switch (event.type) {
      case 'drop.seen':
      case 'drop.gone':
      case 'drop.claimed':
        return log('info', event.type, { drop: event.drop });
      case 'drop.waiting':
      case 'drop.ignored':
        if (event.isRepeated) return;
        return log('info', event.type, { drop: event.drop, reason: event.reason });
      case 'drop.left':
      case 'drop.unreadable':
        if (event.isRepeated) return;
        return log('warn', event.type, { drop: event.drop, reason: event.reason });
      case 'drop.lost':
        return log('warn', 'daemon.warning', errorFields(event.error));
      case 'drop.rejected':
        return log('warn', event.type, rejectedFields(event));
      case 'publish.started':
        return log('info', event.type, about(event));
      case 'publish.waiting': {
        const message = `Another publisher holds the lock of ${event.repository ?? 'a repository'}.`;
        return log('warn', event.type, { ...about(event), code: 'lock.busy', message });
      }
      case 'publish.retry': {
        const { target, error, attempt, nextMs } = event;
        const when = { attempt, next: `${(nextMs / 1000).toFixed(1)}s` };
        return log('warn', event.type, {
          ...about(event),
          target,
          ...errorFields(error),
          ...when,
        });
      }
      case 'publish.target':
        return logTarget(log, event);
      case 'publish.done': {
        const { outcome, tookMs } = event;
        const name = outcome.status === 'unchanged' ? 'publish.unchanged' : 'publish.done';
        return log('info', name, {
          ...about(event),
          ...publishFields(outcome),
          took: formatSeconds(tookMs),
        });
      }
      case 'publish.left-out': {
        const { what, why } = event.what;
        return log('warn', event.type, { ...about(event), what, why });
      }
      case 'publish.warning':
        return log('warn', event.type, { ...about(event), message: event.message });
      case 'publish.later': {
        const { repository: repo, target, error } = event;
        return log('warn', event.type, { repo, target, ...errorFields(error) });
      }
      case 'repository.recovered': {
        const { repository: repo, target, what } = event;
        return log('info', 'daemon.recovered', { repo, target, what });
      }
      case 'repository.cleaned': {
        const { repository: repo, target, snapshots } = event;
        return log('info', 'clean.done', { repo, target, snapshots });
      }
      // The other events are only for metrics.
    }
  };
}

function rejectedFields(event: Extract<PublishEvent, { type: 'drop.rejected' }>): LogFields {
  return { ...about(event), ...errorFields(event.error), kept: event.kept };
}

function logTarget(log: Log, event: Extract<PublishEvent, { type: 'publish.target' }>): void {
  const { target, outcome, tookMs } = event;
  const { status } = outcome;
  const fields = { ...about(event), target, status };
  if (outcome.status === 'rejected') {
    log('warn', event.type, { ...fields, ...errorFields(outcome.error) });
  } else {
    const { snapshot } = outcome;
    log('info', event.type, { ...fields, snapshot, took: formatSeconds(tookMs) });
  }
}

function about({
  drop,
  repository,
}: {
  readonly drop: string;
  readonly repository: string | undefined;
}): LogFields {
  return { repo: repository, drop };
}

/** A drop may have thousands of tags; only the first are listed. */
const TAGS_SHOWN = 5;

/** Returns the tags of a publish as text: `1,2,3,4,5,+7`. */
export function shownTags({ content }: Pick<PublishedOutcome, 'content'>): string {
  const tags = content.roots.flatMap((root) => root.tags);
  const more = tags.length > TAGS_SHOWN ? `,+${tags.length - TAGS_SHOWN}` : '';
  return tags.slice(0, TAGS_SHOWN).join(',') + more;
}

function publishFields(outcome: PublishedOutcome): LogFields {
  const { snapshot, content, moves, ingested, leftOut } = outcome;
  const absent = leftOut.filter(({ why }) => why.startsWith('a platform')).map(({ what }) => what);
  return {
    snapshot,
    tags: shownTags(outcome) || undefined,
    moved: moves.filter(({ from }) => from !== null).length || undefined,
    blobs: content.blobs.length,
    new: ingested.linked + ingested.cloned + ingested.copied,
    absent: absent.join(',') || undefined,
  };
}
