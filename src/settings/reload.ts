/** A reload of the settings: some are applied at once, the others need a restart. */
import { isDeepStrictEqual } from 'node:util';
import { deepFreeze, type Settings, settingPaths } from './schema.js';

/**
 * The settings a reload applies. All others are fixed in running parts: threads, sockets, timers,
 * directories. config/dropdock.yaml lists those; a test checks it.
 */
const LIVE: readonly string[] = [
  'inbox.scan',
  'inbox.after',
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
  /** Dotted paths of the changed settings that are applied. */
  readonly applied: readonly string[];
  /** The changed settings that need a restart; until then the old values are used. */
  readonly waiting: readonly string[];
}

/** Returns the dotted paths of the settings that need a restart. */
export function restartSettings(): string[] {
  return [...settingPaths(), ['targets']]
    .map((path) => path.join('.'))
    .filter((name) => !LIVE.includes(name));
}

/**
 * The settings of a running process. Parts that outlive a reload get `now` and call it each time they need
 * a setting. A value they keep stays as it was.
 */
export class CurrentSettings {
  #value: Settings;

  constructor(value: Settings) {
    this.#value = value;
  }

  /** The settings at this moment. */
  readonly now = (): Settings => this.#value;

  /** Makes a new value: from `next` the settings that a reload applies, the rest as before. */
  adopt(next: Settings): Reloaded {
    const applied: string[] = [];
    const waiting: string[] = [];
    let value = this.#value;
    for (const path of [...settingPaths(), ['targets'], ['repositories']]) {
      const name = path.join('.');
      const wanted = get(next, path);
      if (isDeepStrictEqual(wanted, get(value, path))) continue;
      if (LIVE.includes(name)) {
        applied.push(name);
        value = withValue(value, path, wanted);
      } else {
        waiting.push(name);
      }
    }
    this.#value = deepFreeze(value);
    return { applied, waiting };
  }
}

function get(settings: Settings, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], settings);
}

/** Returns a copy with this value at the path; everything else is shared. */
function withValue<T>(settings: T, [key, ...rest]: readonly string[], wanted: unknown): T {
  if (key === undefined) return wanted as T;
  const inner = (settings as Readonly<Record<string, unknown>>)[key];
  return { ...settings, [key]: withValue(inner, rest, wanted) };
}
