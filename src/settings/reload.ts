/** Settings read again while the program runs: which are applied at once, and which need a restart. */
import { isDeepStrictEqual } from 'node:util';
import { deepFreeze, type Settings, settingPaths } from './schema.js';

/**
 * A reload applies these. All others are built into what runs: threads, sockets, timers, directories.
 * config/dropdock.yaml lists those, and a test says so.
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
  /** Dotted paths of the settings that have changed and are applied. */
  readonly applied: readonly string[];
  /** Those that have changed and need a restart; until then the old values are used. */
  readonly waiting: readonly string[];
}

/** The settings, by dotted path, that only a restart changes. */
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

  /** Makes a new value: of `next` what a reload applies, and the rest as it was. */
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

/** A copy that has this value at the path and shares everything else. */
function withValue<T>(settings: T, [key, ...rest]: readonly string[], wanted: unknown): T {
  if (key === undefined) return wanted as T;
  const inner = (settings as Readonly<Record<string, unknown>>)[key];
  return { ...settings, [key]: withValue(inner, rest, wanted) };
}
