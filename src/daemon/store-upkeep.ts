/** What object stores need at start and now and then. A store in trouble holds nothing else back. */
import { DropdockError } from '../errors.js';
import { type CleanedStore, cleanStore } from '../objects/clean.js';
import type { StoreContext } from '../objects/context.js';
import { CLEANED_KEY, FRESH } from '../objects/layout.js';
import { patiently } from '../objects/patience.js';
import { abortOldUploads, probeStore } from '../objects/probe.js';
import { errorFields } from '../report.js';
import { resolveRepositoryById } from '../settings/repository-policy.js';
import type { Services } from './services.js';

/**
 * Tries each store's conditions, and ends uploads that dead publishers left.
 * @throws target.unfit: nothing may be published to such a store
 */
export async function openStores(services: Services): Promise<void> {
  const { stores, log, owner } = services;
  await Promise.all(
    stores.names.map(async (target) => {
      try {
        const context = await stores.open(target);
        await probeStore(context, owner.token);
        const uploads = await abortOldUploads(context);
        log('info', 'target.ready', { target, uploads: uploads || undefined });
      } catch (error) {
        if (error instanceof DropdockError && error.code === 'target.unfit') throw error;
        log('warn', 'target.failed', { target, ...errorFields(error as Error) });
      }
    }),
  );
}

/** Cleans each store whose time has come, whoever cleaned it last. */
export async function cleanStores(services: Services): Promise<void> {
  const { stores, log } = services;
  for (const target of stores.names) {
    try {
      const context = await stores.open(target);
      if (!(await isDue(context, stores.settingsOf(target).clean))) continue;
      const { files, bytes, repositories, stopped } = await cleanOneStore(services, context);
      const snapshots = repositories
        .flatMap((each) => each.snapshots)
        .filter(({ remove }) => remove).length;
      log('info', 'clean.done', { target, snapshots, files, bytes, stopped });
      await markCleaned(context);
    } catch (error) {
      log('warn', 'daemon.warning', { target, ...errorFields(error as Error) });
    }
  }
}

export function cleanOneStore(
  { settings, owner, nowMs }: Services,
  context: StoreContext,
  dryRun = false,
): Promise<CleanedStore> {
  return cleanStore(context, {
    policyOf: (id) => resolveRepositoryById(settings, id),
    graceMs: settings.retention.grace,
    dryRun,
    nonce: `${owner.token}-${nowMs()}`,
  });
}

async function isDue({ store }: StoreContext, everyMs: number): Promise<boolean> {
  const last = await patiently(() => store.head(CLEANED_KEY));
  return last?.storeMs === undefined || last.storeMs - last.modifiedMs >= everyMs;
}

async function markCleaned({ store }: StoreContext): Promise<void> {
  const attributes = { contentType: 'text/plain', cacheControl: FRESH };
  await patiently(() => store.put(CLEANED_KEY, Buffer.alloc(0), attributes));
}
