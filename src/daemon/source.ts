/** What the endpoint answers from, by the settings: the published tree, or an object store. */
import type { RunJob } from '../disk/hands.js';
import type { Log } from '../log.js';
import { openStore } from '../objects/s3-store.js';
import type { BrowseJobs } from '../publish/browse.js';
import type { TreeRoots } from '../publish/paths.js';
import { DirectorySource } from '../registry/directory-source.js';
import { ObjectSource } from '../registry/object-source.js';
import { NOBODYS_ID } from '../registry/permission.js';
import type { Source } from '../registry/source.js';
import { errorFields } from '../report.js';
import type { Settings } from '../settings/schema.js';
import type { StoreSettings } from '../settings/targets.js';

export interface SourceOptions {
  readonly settings: Settings;
  readonly roots: TreeRoots;
  readonly run: RunJob<BrowseJobs>;
  readonly log: Log;
}

const REMEMBER_BYTES = 64 * 1024 * 1024;
/** What a client waits for is small; a store that takes longer for it is as good as away. */
const SMALL_MS_MAX = 10_000;

export async function openSource(
  options: SourceOptions,
): Promise<{ readonly source: Source; readonly close: () => void }> {
  const { settings, roots, run } = options;
  const target = settings.targets[settings.registry.target];
  if (target?.type === 's3') return openObjects(options, target);
  const source = new DirectorySource({ roots, run, rememberBytes: REMEMBER_BYTES });
  return { source, close: () => {} };
}

async function openObjects({ settings, log }: SourceOptions, store: StoreSettings) {
  const { target, signedFor, pointerAge, staleFor, connections } = settings.registry;
  const timeoutMs = Math.min(store.timeout, SMALL_MS_MAX);
  const given = { ...store, target, timeoutMs };
  // Of their own: clients that are slow must not keep the small requests of others waiting.
  const [small, blobs] = await Promise.all([
    openStore(given),
    openStore({ ...given, sockets: connections }),
  ]);
  const source = new ObjectSource({
    store: small,
    blobs,
    signedSeconds: Math.floor(signedFor / 1000),
    pointerAgeMs: pointerAge,
    staleMs: staleFor,
    monotonicMs: () => performance.now(),
    onAway: (trouble) => {
      if (trouble === undefined) log('info', 'registry.back', { target });
      else log('error', 'registry.away', { target, ...errorFields(trouble) });
    },
  });
  // Said at once, if it cannot be reached: no repository has this id, and no request waits for it.
  source.current(NOBODYS_ID).catch(() => {});
  const close = () => {
    small.close();
    blobs.close();
  };
  return { source, close };
}
