/**
 * Loads the settings. Flags override the environment, which overrides the file, which overrides the
 * defaults. The error for an unknown or invalid setting names the line, the variable or the flag.
 */
import * as v from 'valibot';
import { isMap, isScalar, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { DropdockError } from '../errors.js';
import { deepFreeze, type Settings, settingPaths, settingsSchema } from './schema.js';

type Plain = Record<string, unknown>;

export interface SettingsSources {
  /** The settings file's text and name; undefined if there is no file. */
  readonly file: { readonly name: string; readonly text: string } | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Values by setting path, each with the flag it came from. */
  readonly flags: readonly {
    readonly path: readonly string[];
    readonly value: unknown;
    readonly flag: string;
  }[];
}

export interface LoadedSettings {
  readonly settings: Settings;
  /** The origin of each setting, by dotted path: `default`, `file:12`, `DROPDOCK_…`, `--root`. */
  readonly origins: ReadonlyMap<string, string>;
}

/** @throws settings.invalid */
export function loadSettings(sources: SettingsSources): LoadedSettings {
  const file = sources.file ? readFileLayer(sources.file) : undefined;
  const values: Plain = structuredClone(file?.values ?? {});
  const origins = new Map<string, string>();
  for (const path of settingPaths()) {
    const name = path.join('.');
    const inFile = getIn(file?.values, path) !== undefined;
    origins.set(name, inFile ? `${file?.name}:${file?.lineOf(path)}` : 'default');
    const variable = environmentName(path);
    const text = sources.environment[variable];
    if (text === undefined) continue;
    setIn(values, path, fromText(text));
    origins.set(name, variable);
  }
  refuseUnknownVariables(sources.environment);
  for (const { path, value, flag } of sources.flags) {
    setIn(values, path, value);
    origins.set(path.join('.'), flag);
  }
  const parsed = v.safeParse(settingsSchema, values, { abortEarly: true });
  if (parsed.success) return { settings: deepFreeze(parsed.output), origins };
  const [issue] = parsed.issues;
  const path = (issue.path ?? []).map(({ key }) => String(key));
  const name = path.join('.') || 'the settings';
  const origin = origins.get(name);
  const where =
    origin === undefined || origin === 'default' || origin.startsWith(`${file?.name}:`)
      ? `${file?.name ?? 'settings'}:${file?.lineOf(path) ?? 1}`
      : origin;
  // This is how valibot reports a key that is in no schema.
  const isUnknown = issue.expected === 'never';
  const why = isUnknown ? 'unknown setting' : issue.message;
  throw new DropdockError('settings.invalid', `${where}: ${name}: ${why}`, { path: name });
}

/** `registry.listen` is DROPDOCK_REGISTRY_LISTEN. */
export function environmentName(path: readonly string[]): string {
  return `DROPDOCK_${path.join('_').toUpperCase()}`;
}

/** Variables that `notify` sets for the programs it runs; such a program may be dropdock itself. */
const OF_NOTICES = ['EVENT', 'ID', 'REPOSITORY', 'SNAPSHOT'].map((name) => `DROPDOCK_${name}`);

function refuseUnknownVariables(environment: SettingsSources['environment']): void {
  const known = new Set([...settingPaths().map(environmentName), ...OF_NOTICES]);
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('DROPDOCK_') || known.has(name)) continue;
    throw new DropdockError('settings.invalid', `${name}: unknown setting`, {
      path: name,
    });
  }
}

/** Parses a variable as the file would: `false`, `5`, `null`, or a string. */
function fromText(text: string): unknown {
  if (/^(?:true|false|null|0|[1-9]\d*)$/.test(text)) return JSON.parse(text);
  return text;
}

function readFileLayer({ name, text }: { name: string; text: string }): {
  name: string;
  values: Plain;
  lineOf: (path: readonly string[]) => number;
} {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [error] = document.errors;
  if (error) {
    const line = error.linePos?.[0].line ?? 1;
    const [summary] = error.message.split('\n');
    throw new DropdockError('settings.invalid', `${name}:${line}: ${summary}`, { path: name });
  }
  const values: unknown = document.toJS() ?? {};
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    throw new DropdockError('settings.invalid', `${name}:1: expected a map of settings`, {
      path: name,
    });
  }
  // A section with all its lines commented out is null; it means the defaults.
  const said = Object.entries(values).filter(([, value]) => value !== null);
  return { name, values: Object.fromEntries(said), lineOf };

  /** Returns the line of the innermost key of the path that the file has. */
  function lineOf(path: readonly string[]): number {
    let node: unknown = document.contents;
    let offset = 0;
    for (const key of path) {
      const pair = isMap(node) ? pairOf(node, key) : undefined;
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    }
    return lines.linePos(offset).line;
  }
}

function pairOf(map: YAMLMap, key: string): YAMLMap['items'][number] | undefined {
  return map.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key);
}

function getIn(values: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Plain | undefined)?.[key], values);
}

function setIn(values: Plain, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  if (rest.length === 0) {
    values[key] = value;
    return;
  }
  const inner = values[key];
  const next: Plain = typeof inner === 'object' && inner !== null ? (inner as Plain) : {};
  values[key] = next;
  setIn(next, rest, value);
}
