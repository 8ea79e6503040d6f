/** Every setting with its shape and default. config/dropdock.yaml shows them all; a test checks it. */
import { hostname } from 'node:os';
import * as v from 'valibot';
import { mapOf } from '../image/json.js';
import { isRepositoryId } from '../image/names.js';
import { duration, pause, UNITS_MS } from './duration.js';
import { notification } from './notify-settings.js';
import { listen, registry } from './registry-settings.js';
import {
  absolutePath,
  agree,
  counted,
  filled,
  only,
  orNull,
  type Problem,
  section,
  some,
  text,
} from './shapes.js';
import { allTargets, targets } from './target-settings.js';

const repository = only({
  mode: v.optional(v.picklist(['merge', 'replace'])),
  protected: v.optional(v.boolean()),
  /** The users that may read a protected repository; absent: all users. */
  readers: v.optional(v.array(filled)),
  /** Patterns of tags that may not move; true: all tags. */
  immutableTags: v.optional(v.union([v.boolean(), v.array(v.string())])),
  url: v.optional(v.string()),
  id: v.optional(
    v.pipe(
      v.string(),
      v.check(isRepositoryId, 'expected one path component of letters, digits and . _ - ~'),
    ),
  ),
  keep: v.optional(counted),
  /** Names of the targets it is published to. */
  targets: v.optional(some(v.string())),
});
export type RepositorySettings = DeepReadonly<v.InferOutput<typeof repository>>;

const repositories = mapOf(v.string(), repository);

/** Returns ids used twice: two repositories with one id would serve each other's content. */
function* sharedIds(repositories: Readonly<Record<string, RepositorySettings>>): Iterable<Problem> {
  const taken = new Map<string, string>();
  for (const [pattern, { id }] of Object.entries(repositories)) {
    if (id === undefined) continue;
    const other = taken.get(id);
    const message = pattern.includes('*')
      ? 'an id must belong to one repository, and this is a pattern'
      : `${other} already has this id`;
    if (pattern.includes('*') || other !== undefined) yield { path: [pattern, 'id'], message };
    taken.set(id, pattern);
  }
}

const sections = v.strictObject({
  paths: section({
    inbox: v.optional(filled, '/var/lib/dropdock/inbox'),
    published: v.optional(filled, '/var/lib/dropdock/published'),
    state: v.optional(filled, '/var/lib/dropdock/state'),
    marker: orNull(text(/^[^/]+$/, 'expected the name of a file')),
  }),
  inbox: section({
    scan: v.optional(pause, '30s'),
    watch: v.optional(v.boolean(), true),
    after: v.optional(v.picklist(['auto', 'leave', 'remove']), 'auto'),
  }),
  settle: section({
    quiet: v.optional(duration, '1s'),
    timeout: v.optional(duration, '10m'),
    marker: orNull(filled),
  }),
  ingest: v.optional(v.picklist(['auto', 'copy']), 'auto'),
  archives: section({
    compress: v.optional(v.picklist(['gzip', 'none']), 'gzip'),
  }),
  redirect: section({
    oci: v.optional(v.picklist(['convert', 'passthrough', 'omit']), 'convert'),
    url: v.optional(filled, `https://${hostname()}/pulp/docker/v2/{id}/`),
  }),
  retention: section({
    keep: v.optional(counted, 3),
    grace: v.optional(duration, '1h'),
    interval: v.optional(pause, '10m'),
  }),
  lock: section({
    stale: v.optional(
      v.pipe(
        duration,
        v.check((ms) => ms >= 2000, 'expected at least 2s'),
      ),
      '10s',
    ),
    wait: v.optional(duration, '15s'),
    kernel: v.optional(v.boolean(), true),
  }),
  retry: section({
    first: v.optional(pause, '1s'),
    most: v.optional(pause, '5m'),
  }),
  threads: section({
    hash: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0, 'expected 0 or more')), 0),
  }),
  registry,
  metrics: section({
    listen: orNull(listen),
    repositories: v.optional(v.array(filled), []),
  }),
  notify: v.optional(v.array(notification), []),
  shutdown: section({
    wait: v.optional(pause, '20s'),
  }),
  log: section({
    level: v.optional(v.picklist(['error', 'warn', 'info', 'debug']), 'info'),
    format: v.optional(v.picklist(['text', 'json']), 'text'),
    file: orNull(absolutePath),
  }),
  targets,
  repositories: v.optional(
    v.pipe(repositories, agree<v.InferOutput<typeof repositories>>(sharedIds)),
    {},
  ),
});

function* wrongTogether({
  registry,
  repositories,
  targets,
}: v.InferOutput<typeof sections>): Iterable<Problem> {
  const known = Object.keys(allTargets({ targets }));
  if (!known.includes(registry.target)) {
    const message = `unknown target "${registry.target}"; known targets: ${known.join(', ')}`;
    yield { path: ['registry', 'target'], message };
  }
  for (const [pattern, { targets: wanted = [] }] of Object.entries(repositories)) {
    const wrong = wanted.find((each) => !known.includes(each));
    const path = ['repositories', pattern, 'targets'];
    const message = `unknown target "${wrong}"; known targets: ${known.join(', ')}`;
    if (wrong !== undefined) yield { path, message };
  }
  if (registry.htpasswd !== null) return;
  for (const [pattern, { readers }] of Object.entries(repositories)) {
    const message = 'needs registry.htpasswd, which is not set: readers are its users';
    if (readers !== undefined) yield { path: ['repositories', pattern, 'readers'], message };
  }
}

export const settingsSchema = v.pipe(
  sections,
  agree<v.InferOutput<typeof sections>>(wrongTogether),
);

/** Immutable: a reload makes a new value. */
export type Settings = DeepReadonly<v.InferOutput<typeof settingsSchema>>;

type DeepReadonly<T> = T extends object ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> } : T;

/** Freezes the object and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) deepFreeze(inner);
  return value;
}

/** Returns the paths of all single settings, such as `settle.quiet`; `repositories` and `targets` are maps. */
export function settingPaths(): string[][] {
  return Object.entries(sections.entries).flatMap(([key, schema]) => {
    if (key === 'repositories' || key === 'targets') return [];
    const inner = entriesOf(schema);
    return inner === undefined ? [[key]] : Object.keys(inner).map((leaf) => [key, leaf]);
  });
}

/** True for a setting whose value is a duration in milliseconds. */
export function isDuration([key = '', leaf = '']: readonly string[]): boolean {
  const inner = entriesOf(sections.entries[key as keyof typeof sections.entries]);
  return inner?.[leaf] !== undefined && isMadeOf(duration, unwrapped(inner[leaf]));
}

/** Formats 1500 as `1500ms` and 60000 as `1m`: uses the largest unit without a remainder. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNITS_MS[unit] ?? 1;
    if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

/** Returns the entries of a section; undefined for a schema that is not a section. */
function entriesOf(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  const inner = unwrapped(schema);
  if (has(inner, 'entries')) return inner.entries as Readonly<Record<string, unknown>>;
  if (!has(inner, 'pipe')) return undefined;
  return (inner.pipe as unknown[]).map(entriesOf).find((entries) => entries !== undefined);
}

function unwrapped(schema: unknown): unknown {
  return has(schema, 'wrapped') ? unwrapped(schema.wrapped) : schema;
}

function isMadeOf(whole: unknown, schema: unknown): boolean {
  if (schema === whole) return true;
  return has(schema, 'pipe') && (schema.pipe as unknown[]).some((each) => isMadeOf(whole, each));
}

function has<Key extends string>(value: unknown, key: Key): value is Record<Key, unknown> {
  return typeof value === 'object' && value !== null && key in value;
}
