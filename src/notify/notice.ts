/**
 * The notification: one JSON document, described in docs/notify.md, and its targets. Pure.
 *
 * The id of a notification is derived from its event, so a repeated notification has the same id and
 * receivers can detect duplicates.
 */
import { createHash, createHmac } from 'node:crypto';

export type NoticeEvent = 'published' | 'rejected' | 'rolled-back' | 'untagged' | 'removed';

interface NoticeFrame {
  readonly version: 1;
  readonly event: NoticeEvent;
  /** The same for every delivery of this notification. */
  readonly id: string;
  /** The time of the event, as a timestamp. */
  readonly at: string;
}

/** Notification of a new snapshot of a repository. */
export interface FlipNotice extends NoticeFrame {
  readonly event: Exclude<NoticeEvent, 'rejected'>;
  readonly repository: string;
  readonly snapshot: string;
  readonly base: string | null;
  /** Added, moved and removed tags, sorted. */
  readonly tags: readonly {
    readonly tag: string;
    readonly from: string | null;
    readonly to: string | null;
  }[];
  /** Added images without a tag. */
  readonly untagged: readonly string[];
  readonly drops: readonly string[];
  /** The users who made it; empty if unknown. */
  readonly by: readonly string[];
  /** The restored snapshot, or the removed tags. */
  readonly detail: string | null;
}

export interface RejectionNotice extends NoticeFrame {
  readonly event: 'rejected';
  readonly repository: string | null;
  readonly drop: string;
  /** The user that the drop is from; empty if unknown. */
  readonly by: readonly string[];
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly path: string | null;
  readonly digest: string | null;
}

export type Notice = FlipNotice | RejectionNotice;

/** Builds the notification from the receipt of a rejected drop; undefined for any other text. */
export function rejectionNotice(receipt: string): RejectionNotice | undefined {
  const said = JSON.parse(receipt) as Partial<Record<string, string>>;
  const { status, claim, claimedAt, finishedAt, drop, code, message } = said;
  if (status !== 'rejected' || claim === undefined || drop === undefined) return undefined;
  return {
    version: 1,
    event: 'rejected',
    id: `${claim}@${claimedAt}`,
    at: finishedAt ?? '',
    repository: said.repository ?? null,
    drop,
    by: said.by ? [said.by] : [],
    code: code ?? '',
    message: message ?? '',
    hint: said.hint ?? null,
    path: said.path ?? null,
    digest: said.digest ?? null,
  };
}

export function formatNotice(notice: Notice): string {
  return `${JSON.stringify(notice)}\n`;
}

/** Returns undefined if the file contains no valid notification. */
export function parseNotice(text: string): Notice | undefined {
  try {
    const notice = JSON.parse(text) as Notice;
    return typeof notice.id === 'string' && typeof notice.event === 'string' ? notice : undefined;
  } catch {
    return undefined;
  }
}

/** A target of notifications: a program or a URL. */
export interface Target {
  /** The name of the target's queue directory: the same for the same program or URL. */
  readonly key: string;
  /** The name in logs and messages. The path of a URL may be a secret (chat webhooks), so it is left out. */
  readonly name: string;
  readonly on: readonly NoticeEvent[];
  readonly repositories: readonly string[];
  readonly how:
    | { readonly run: readonly string[] }
    | { readonly post: string; readonly secretFile: string | undefined };
  readonly timeoutMs: number;
}

export function targetOf(entry: {
  readonly on: readonly NoticeEvent[];
  readonly repositories: readonly string[];
  readonly run?: readonly string[] | undefined;
  readonly post?: string | undefined;
  readonly secretFile?: string | undefined;
  readonly timeout: number;
}): Target {
  const { on, repositories, run, post = '', secretFile, timeout: timeoutMs } = entry;
  const key = createHash('sha256')
    .update(JSON.stringify(run ?? post))
    .digest('hex')
    .slice(0, 16);
  const how = run === undefined ? { post, secretFile } : { run };
  const name = run === undefined ? new URL(post).origin : (run[0] ?? '');
  return { key, name, on, repositories, how, timeoutMs };
}

/** @param matches returns true if the pattern matches the repository */
export function wants(
  { on, repositories }: Pick<Target, 'on' | 'repositories'>,
  { event, repository }: Pick<Notice, 'event' | 'repository'>,
  matches: (pattern: string, repository: string) => boolean,
): boolean {
  if (!on.includes(event)) return false;
  // A drop whose name gives no repository is sent only to targets for all repositories.
  return repositories.some((pattern) =>
    repository === null ? pattern === '**' : matches(pattern, repository),
  );
}

/** Returns the headers of a POST request, in GitHub's format, which many receivers can verify. */
export function noticeHeaders(
  { event, id }: Pick<Notice, 'event' | 'id'>,
  body: Buffer,
  secret: Buffer | undefined,
): Record<string, string | number> {
  return {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    'User-Agent': 'dropdock',
    'X-Dropdock-Event': event,
    'X-Dropdock-Delivery': encodeURIComponent(id),
    ...(secret && { 'X-Hub-Signature-256': `sha256=${hmac(secret, body)}` }),
  };
}

function hmac(secret: Buffer, body: Buffer): string {
  return createHmac('sha256', secret).update(body).digest('hex');
}

/**
 * Returns the environment variables of a program: what a short script needs. None of them is the name of a
 * setting, so the program can call dropdock.
 */
export function noticeVariables({
  event,
  id,
  repository,
  // Absent in notifications that an earlier version wrote.
  by = [],
  ...rest
}: Notice): Record<string, string> {
  return {
    DROPDOCK_EVENT: event,
    DROPDOCK_ID: id,
    DROPDOCK_REPOSITORY: repository ?? '',
    DROPDOCK_BY: by.join(','),
    DROPDOCK_SNAPSHOT: 'snapshot' in rest ? rest.snapshot : '',
  };
}
