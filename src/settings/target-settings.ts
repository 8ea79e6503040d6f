/** The shape of `targets`: targets to publish to in addition to, or instead of, the directory. */
import * as v from 'valibot';
import { mapOf } from '../image/json.js';
import { duration, pause } from './duration.js';
import { absolutePath, agree, filled, HTTP, url } from './shapes.js';

/** The name of the published tree of `paths.published`; this target always exists. */
export const LOCAL_TARGET = 'local';

/** Returns the settings of all targets by name, the directory first even if the settings do not list it. */
export function allTargets({
  targets,
}: {
  readonly targets: Readonly<Record<string, TargetSettings>>;
}): Readonly<Record<string, TargetSettings>> {
  return { [LOCAL_TARGET]: { type: 'directory' }, ...targets };
}

/** Returns a target's name for output and logs: undefined for the directory, the default. */
export function shownTarget(name: string): string | undefined {
  return name === LOCAL_TARGET ? undefined : name;
}

/** True for a repository that is published only to the directory. */
export function isLocalOnly({ targets }: { readonly targets: readonly string[] }): boolean {
  return targets.length === 1 && targets[0] === LOCAL_TARGET;
}

/** Returns the targets of a repository that is not published to the directory; undefined if it is. */
export function elsewhereOf({
  targets,
}: {
  readonly targets: readonly string[];
}): readonly string[] | undefined {
  return targets.includes(LOCAL_TARGET) ? undefined : targets;
}

const endpoint = v.pipe(
  url(HTTP, 'expected a URL such as https://s3.example.com'),
  v.check(
    (text) => !URL.parse(text)?.username,
    'expected no credentials: put them into credentialsFile',
  ),
);

const prefix = v.pipe(
  v.string(),
  v.regex(
    /^(?:[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*)?$/,
    'expected path components of letters, digits and . _ ~ -',
  ),
);

const store = v.strictObject({
  type: v.literal('s3'),
  /** Absent for AWS: the region selects its endpoint. */
  endpoint: v.optional(endpoint),
  bucket: filled,
  /** Prefix of all keys, without a slash at either end. */
  prefix: v.optional(prefix, ''),
  region: v.optional(filled, 'us-east-1'),
  /** URLs as `https://host/bucket/key`; most stores other than AWS need it. */
  pathStyle: v.optional(v.boolean(), false),
  credentialsFile: v.optional(absolutePath),
  /** Work with a store without conditional writes; then only one publisher may exist. */
  singleWriter: v.optional(v.boolean(), false),
  /** The URL below which readers find the keys, if not the endpoint: a CDN, a public bucket. */
  publicUrl: v.optional(endpoint),
  /** The longest time a publish may take; objects younger than a multiple of it are never cleaned. */
  longest: v.optional(
    v.pipe(
      duration,
      v.check((ms) => ms >= 1000, 'expected at least 1s'),
    ),
    '1h',
  ),
  /** Interval between searches for unused objects; each search reads all pointers. */
  clean: v.optional(pause, '1d'),
  /** The longest time one request may take. */
  timeout: v.optional(pause, '60s'),
});
export type StoreSettings = v.InferOutput<typeof store>;

const directory = v.strictObject({ type: v.literal('directory') });

const name = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9._-]*$/, 'expected a name of lower-case letters and digits'),
);

/** One schema for each kind of target. */
const target = v.variant('type', [directory, store]);
export type TargetSettings = v.InferOutput<typeof target>;

const all = mapOf(name, target);

export const targets = v.optional(
  v.pipe(all, agree<v.InferOutput<typeof all>>(directoriesElsewhere)),
  {},
);

function* directoriesElsewhere(given: v.InferOutput<typeof all>) {
  for (const [each, { type }] of Object.entries(given)) {
    if ((each === LOCAL_TARGET) === (type === 'directory')) continue;
    yield {
      path: [each, 'type'],
      message: `the target ${LOCAL_TARGET}, and only that one, has the type directory`,
    };
  }
}
