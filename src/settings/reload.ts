/** Settings read again while the program runs: what takes effect at once, and what at a restart. */
import { isDeepStrictEqual } from 'node:util';
import { type Settings, settingPaths } from './schema.js';

/**
 * Read where they are used, each time. All others are built into what runs: threads, sockets,
 * timers, directories. config/dropdock.yaml lists those, and a test says so.
 */
const LIVE: readonly string[] = [
  'inbox.scan',
  'settle.quiet',
  'settle.timeout',
  'settle.marker',
  'ingest',
  'archives.compress',
  'redirect.oci',
  'redirect.url',
  'retention.keep',
  'retention.grace',
  'lock.wait',
  'retry.first',
  'retry.most',
  'registry.blobs',
  'registry.blobsUrl',
  'registry.accelPrefix',
  'registry.anonymous',
  'registry.htpasswd',
  'registry.tokenFor',
  'registry.tokenKey',
  'registry.tokenUrl',
  'registry.page',
  'metrics.repositories',
  'shutdown.wait',
  'log.level',
  'log.format',
  'repositories',
];

export interface Reloaded {
  /** Dotted paths of the settings that have changed and hold from now on. */
  readonly applied: readonly string[];
  /** Those that have changed and wait for a restart; until then the old values hold. */
  readonly waiting: readonly string[];
}

/** The settings, by dotted path, that only a restart changes. */
export function restartSettings(): string[] {
  return [...settingPaths(), ['targets']]
    .map((path) => path.join('.'))
    .filter((name) => !LIVE.includes(name));
}

/** Writes into `current`, which everybody shares, what may change while it runs. */
export function adoptSettings(current: Settings, next: Settings): Reloaded {
  const applied: string[] = [];
  const waiting: string[] = [];
  for (const path of [...settingPaths(), ['targets'], ['repositories']]) {
    const name = path.join('.');
    const [from, to] = [get(next, path), get(current, path)];
    if (isDeepStrictEqual(from, to)) continue;
    if (!LIVE.includes(name)) {
      waiting.push(name);
      continue;
    }
    const leaf = path.at(-1) ?? '';
    (get(current, path.slice(0, -1)) as Record<string, unknown>)[leaf] = from;
    applied.push(name);
  }
  return { applied, waiting };
}

function get(settings: Settings, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], settings);
}
