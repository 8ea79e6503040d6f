/** The shape of `targets`: where drops are published besides, or instead of, the directory. */
import * as v from 'valibot';
import { mapOf } from '../image/json.js';
import { duration, pause } from './duration.js';
import { absolutePath, agree, filled, HTTP, url } from './shapes.js';

/** The published tree below `paths`; it is always there. */
export const LOCAL_TARGET = 'local';

/** The settings of all targets by name, the directory first: it need not stand among them. */
export function allTargets({
  targets,
}: {
  readonly targets: Readonly<Record<string, TargetSettings>>;
}): Readonly<Record<string, TargetSettings>> {
  return { [LOCAL_TARGET]: { type: 'directory' }, ...targets };
}

/** How output and logs name a target: undefined for the directory, which goes without saying. */
export function shownTarget(name: string): string | undefined {
  return name === LOCAL_TARGET ? undefined : name;
}

/** True for a repository that is published to the directory alone. */
export function isLocalOnly({ targets }: { readonly targets: readonly string[] }): boolean {
  return targets.length === 1 && targets[0] === LOCAL_TARGET;
}

/** The targets of a repository that is not published to the directory; undefined where it is. */
export function elsewhereOf({
  targets,
}: {
  readonly targets: readonly string[];
}): readonly string[] | undefined {
  return targets.includes(LOCAL_TARGET) ? undefined : targets;
}

const endpoint = v.pipe(
  url(HTTP, 'expected a URL such as https://s3.example.com'),
  v.check((text) => !URL.parse(text)?.username, 'credentials go into credentialsFile'),
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
  /** Left out for AWS, which the region tells. */
  endpoint: v.optional(endpoint),
  bucket: filled,
  /** What all keys begin with; without a slash at either end. */
  prefix: v.optional(prefix, ''),
  region: v.optional(filled, 'us-east-1'),
  /** `https://host/bucket/key`; what most stores but AWS want. */
  pathStyle: v.optional(v.boolean(), false),
  credentialsFile: v.optional(absolutePath),
  /** Run where the store knows no conditional writes; one publisher only may be. */
  singleWriter: v.optional(v.boolean(), false),
  /** Where readers find the keys, when that is not the endpoint: a CDN, a public bucket. */
  publicUrl: v.optional(endpoint),
  /** The longest a publish may take; what is younger than a few of these is never cleaned. */
  longest: v.optional(
    v.pipe(
      duration,
      v.check((ms) => ms >= 1000, 'expected at least 1s'),
    ),
    '1h',
  ),
  /** How often what nothing uses is looked for; all pointers are read for it. */
  clean: v.optional(pause, '1d'),
  /** The longest one request may take. */
  timeout: v.optional(pause, '60s'),
});
export type StoreSettings = v.InferOutput<typeof store>;

const directory = v.strictObject({ type: v.literal('directory') });

const name = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9][a-z0-9._-]*$/, 'expected a name of lower-case letters and digits'),
);

/** One for each kind of target. */
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
      message: `the directory is the target ${LOCAL_TARGET}, and no other`,
    };
  }
}
