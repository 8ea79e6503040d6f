/** Every setting, its shape and its default. config/dropdock.yaml shows them all, and a test says so. */
import { hostname } from 'node:os';
import { z } from 'zod';
import { isRepositoryId } from '../image/names.js';
import { duration, pause, UNITS_MS } from './duration.js';
import { notification } from './notify.js';
import { LOCAL_TARGET, targets } from './targets.js';

const repository = z.strictObject({
  mode: z.enum(['merge', 'replace']).optional(),
  protected: z.boolean().optional(),
  /** Who of the users may read a protected one; all of them where it is left out. */
  readers: z.array(z.string().min(1)).optional(),
  /** Tags (with * for anything) that may not move; true for all. */
  immutableTags: z.union([z.boolean(), z.array(z.string())]).optional(),
  url: z.string().optional(),
  id: z
    .string()
    .refine(isRepositoryId, 'expected one path component of letters, digits and . _ - ~')
    .optional(),
  keep: z.int().positive().optional(),
  /** Where it is published to, by name. */
  targets: z.array(z.string()).min(1).optional(),
});
export type RepositorySettings = z.infer<typeof repository>;

const section = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape).prefault({} as never);

/** An id belongs to one repository: two that shared one would serve each other's content. */
function refuseSharedIds(
  repositories: Readonly<Record<string, RepositorySettings>>,
  context: z.RefinementCtx,
): void {
  const taken = new Map<string, string>();
  for (const [pattern, { id }] of Object.entries(repositories)) {
    if (id === undefined) continue;
    const other = taken.get(id);
    const message = pattern.includes('*')
      ? 'an id is for one repository, and this is a pattern'
      : `${other} has this id already`;
    if (pattern.includes('*') || other !== undefined) {
      context.addIssue({ code: 'custom', path: [pattern, 'id'], message });
    }
    taken.set(id, pattern);
  }
}

/** `127.0.0.1:5000`, `[::1]:5000`, `:5000` for all addresses, or the path of a socket. */
const listen = z
  .string()
  .regex(/^(?:\/.+|(?:\[[0-9a-f:.%a-z]*\]|[^:/\s]*):\d{1,5})$/i, {
    error: 'expected <address>:<port>, :<port>, the path of a socket, or null for none',
  })
  .refine((text) => text.startsWith('/') || Number(text.split(':').at(-1)) < 65_536, {
    error: 'a port is at most 65535',
  });

/** As long as a signature can be good. */
const SIGNED_MS_MAX = 7 * 24 * 3600 * 1000;

/** Settings that make no sense without another. */
function checkRegistry(
  registry: Readonly<
    Record<'target' | 'blobs' | 'blobsUrl' | 'htpasswd' | 'certificate' | 'key', unknown>
  > & { readonly anonymous: boolean },
  context: z.RefinementCtx,
): void {
  const need = (path: string, message: string) =>
    context.addIssue({ code: 'custom', path: [path], message });
  const isLocal = registry.target === LOCAL_TARGET;
  if (registry.blobs === 'redirect' && registry.blobsUrl === null && isLocal) {
    need('blobs', 'redirect needs registry.blobsUrl, which says where to');
  }
  if (registry.blobs === 'x-accel' && !isLocal) {
    need('blobs', 'x-accel is for the directory; an object store has no files for nginx');
  }
  if (!registry.anonymous && registry.htpasswd === null) {
    need('anonymous', 'false needs registry.htpasswd, or nobody could read anything');
  }
  if ((registry.certificate === null) !== (registry.key === null)) {
    need(registry.key === null ? 'certificate' : 'key', 'certificate and key go together');
  }
}

const sections = z.strictObject({
  paths: section({
    inbox: z.string().min(1).default('/var/lib/dropdock/inbox'),
    published: z.string().min(1).default('/var/lib/dropdock/published'),
    state: z.string().min(1).default('/var/lib/dropdock/state'),
    marker: z
      .string()
      .regex(/^[^/]+$/, { error: 'expected the name of a file' })
      .nullable()
      .default(null),
  }),
  inbox: section({
    scan: pause.prefault('30s'),
    watch: z.boolean().default(true),
  }),
  settle: section({
    quiet: duration.prefault('1s'),
    timeout: duration.prefault('10m'),
    marker: z.string().min(1).nullable().default(null),
  }),
  ingest: z.enum(['auto', 'copy']).default('auto'),
  archives: section({
    compress: z.enum(['gzip', 'none']).default('gzip'),
  }),
  redirect: section({
    oci: z.enum(['convert', 'passthrough', 'omit']).default('convert'),
    url: z.string().min(1).default(`https://${hostname()}/pulp/docker/v2/{id}/`),
  }),
  retention: section({
    keep: z.int().positive().default(3),
    grace: duration.prefault('1h'),
    interval: pause.prefault('10m'),
  }),
  lock: section({
    stale: duration.refine((ms) => ms >= 2000, 'expected at least 2s').prefault('10s'),
    wait: duration.prefault('15s'),
    kernel: z.boolean().default(true),
  }),
  retry: section({
    first: pause.prefault('1s'),
    most: pause.prefault('5m'),
  }),
  threads: section({
    hash: z.int().nonnegative().default(0),
  }),
  registry: section({
    listen: listen.nullable().default('127.0.0.1:5000'),
    target: z.string().min(1).default(LOCAL_TARGET),
    blobs: z.enum(['auto', 'stream', 'redirect', 'x-accel']).default('auto'),
    blobsUrl: z
      .string()
      .regex(/^[\x21-\x7e]+$/, { error: 'expected a URL in ASCII' })
      .nullable()
      .default(null),
    accelPrefix: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, { error: 'expected a path in ASCII that begins with /' })
      .default('/dropdock-blobs'),
    signedFor: duration
      .refine((ms) => ms >= 10_000 && ms <= SIGNED_MS_MAX, 'expected 10s to 7d')
      .prefault('15m'),
    pointerAge: duration.prefault('1s'),
    staleFor: duration.prefault('10m'),
    anonymous: z.boolean().default(true),
    htpasswd: z.string().min(1).nullable().default(null),
    certificate: z.string().min(1).nullable().default(null),
    key: z.string().min(1).nullable().default(null),
    page: z.boolean().default(true),
    connections: z.int().positive().default(1000),
    idle: pause.prefault('60s'),
  }).superRefine(checkRegistry),
  metrics: section({
    listen: listen.nullable().default(null),
    repositories: z.array(z.string().min(1)).default([]),
  }),
  notify: z.array(notification).default([]),
  shutdown: section({
    wait: pause.prefault('20s'),
  }),
  log: section({
    level: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
    format: z.enum(['text', 'json']).default('text'),
    file: z.string().startsWith('/').nullable().default(null),
  }),
  targets,
  repositories: z.record(z.string(), repository).prefault({}).superRefine(refuseSharedIds),
});

export const settingsSchema = sections.superRefine((settings, context) => {
  const { registry, repositories } = settings;
  const known = [LOCAL_TARGET, ...Object.keys(settings.targets)];
  if (!known.includes(registry.target)) {
    const message = `there is no target ${registry.target}; there are ${known.join(', ')}`;
    context.addIssue({ code: 'custom', path: ['registry', 'target'], message });
  }
  for (const [pattern, { targets: named = [] }] of Object.entries(repositories)) {
    const wrong = named.find((each) => !known.includes(each));
    const path = ['repositories', pattern, 'targets'];
    const message = `there is no target ${wrong}; there are ${known.join(', ')}`;
    if (wrong !== undefined) context.addIssue({ code: 'custom', path, message });
  }
  if (registry.htpasswd !== null) return;
  for (const [pattern, { readers }] of Object.entries(repositories)) {
    const message = 'readers are users of registry.htpasswd, which is not set';
    const path = ['repositories', pattern, 'readers'];
    if (readers !== undefined) context.addIssue({ code: 'custom', path, message });
  }
});

export type Settings = z.infer<typeof settingsSchema>;

/** The paths of all single settings: `settle.quiet`. Repositories and targets are maps, not settings. */
export function settingPaths(): string[][] {
  return Object.entries(settingsSchema.shape).flatMap(([key, schema]) => {
    if (key === 'repositories' || key === 'targets') return [];
    const inner = innermost(schema);
    if (!(inner instanceof z.ZodObject)) return [[key]];
    return Object.keys(inner.shape).map((leaf) => [key, leaf]);
  });
}

/** True for a setting whose value is a time in milliseconds. */
export function isDuration([key = '', leaf = '']: readonly string[]): boolean {
  const section = innermost(settingsSchema.shape[key as keyof typeof settingsSchema.shape]);
  if (!(section instanceof z.ZodObject)) return false;
  return innermost(section.shape[leaf]) instanceof z.ZodPipe;
}

/** `1500` as `1500ms`, `60000` as `1m`: the greatest unit that leaves no rest. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNITS_MS[unit] ?? 1;
    if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function innermost(schema: unknown): unknown {
  return schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault
    ? innermost(schema.def.innerType)
    : schema;
}
