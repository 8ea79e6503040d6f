/**
 * What is told: one JSON document, described in docs/notify.md, and who is to get it. Pure.
 *
 * A notice is named after what it tells of, so telling twice gives the same id: receivers can tell
 * a repetition from something new.
 */
import { createHash, createHmac } from 'node:crypto';

export type NoticeEvent = 'published' | 'rejected' | 'rolled-back' | 'untagged' | 'removed';

interface NoticeFrame {
  readonly version: 1;
  readonly event: NoticeEvent;
  /** Stays the same however often it is told. */
  readonly id: string;
  /** When it happened, as a timestamp. */
  readonly at: string;
}

/** A repository has a new snapshot. */
export interface FlipNotice extends NoticeFrame {
  readonly event: Exclude<NoticeEvent, 'rejected'>;
  readonly repository: string;
  readonly snapshot: string;
  readonly base: string | null;
  /** Tags that came, moved or went, sorted. */
  readonly tags: readonly {
    readonly tag: string;
    readonly from: string | null;
    readonly to: string | null;
  }[];
  /** Images that came and have no tag. */
  readonly untagged: readonly string[];
  readonly drops: readonly string[];
  /** Which snapshot was rolled back to, or which tags were taken away. */
  readonly detail: string | null;
}

export interface RejectionNotice extends NoticeFrame {
  readonly event: 'rejected';
  readonly repository: string | null;
  readonly drop: string;
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly path: string | null;
  readonly digest: string | null;
}

export type Notice = FlipNotice | RejectionNotice;

/** Of a rejected drop's receipt; undefined for a text that is none. */
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

/** Undefined for a file that is no notice (any more). */
export function parseNotice(text: string): Notice | undefined {
  try {
    const notice = JSON.parse(text) as Notice;
    return typeof notice.id === 'string' && typeof notice.event === 'string' ? notice : undefined;
  } catch {
    return undefined;
  }
}

/** Somebody who wants to be told. */
export interface Target {
  /** Names the directory of what it has not got yet: the same program or URL, the same directory. */
  readonly key: string;
  /** For people and logs. A URL's path may be a secret (chat webhooks), so it is left out. */
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

/** @param matches whether a pattern names a repository */
export function wants(
  { on, repositories }: Pick<Target, 'on' | 'repositories'>,
  { event, repository }: Pick<Notice, 'event' | 'repository'>,
  matches: (pattern: string, repository: string) => boolean,
): boolean {
  if (!on.includes(event)) return false;
  // A drop whose name says no repository is nobody's in particular.
  return repositories.some((pattern) =>
    repository === null ? pattern === '**' : matches(pattern, repository),
  );
}

/** The headers of a posted notice: those that GitHub sends, which receivers know how to check. */
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
 * What a program finds in its environment: what a script of three lines wants to know. None of these
 * is a setting's name, so the program may call dropdock.
 */
export function noticeVariables({
  event,
  id,
  repository,
  ...rest
}: Notice): Record<string, string> {
  return {
    DROPDOCK_EVENT: event,
    DROPDOCK_ID: id,
    DROPDOCK_REPOSITORY: repository ?? '',
    DROPDOCK_SNAPSHOT: 'snapshot' in rest ? rest.snapshot : '',
  };
}
