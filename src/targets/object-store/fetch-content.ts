/** Downloads the content of a store's snapshot into the content store of this host, and verifies it. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { ingestRequest } from '../../storage/into-store.js';
import type { RunJob } from '../../storage/job.js';
import { receiveStream } from '../../storage/receive.js';
import { openFile } from '../../storage/serving.js';
import { checkSpace } from '../../storage/space.js';
import { contentPath, workPath } from '../../storage/tree-paths.js';
import { eachOf } from './bring-content.js';
import type { NeededObject } from './needed-objects.js';
import { cutOff } from './object-store.js';
import { lostObject } from './read-current.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

const PARALLEL = 4;

export interface FetchOptions {
  readonly run: RunJob;
  readonly transaction: string;
  readonly uid: number;
  /** Called with the number of bytes received. */
  readonly onBytes: (count: number) => void;
}

/** Skips existing content. @throws target.damaged, target.failed, system errors */
export async function fetchContent(
  { store, roots }: StoreContext,
  objects: readonly NeededObject[],
  { run, transaction, uid, onBytes }: FetchOptions,
): Promise<void> {
  const root = workPath(roots, transaction);
  const missing: NeededObject[] = [];
  await eachOf(objects, PARALLEL, async (object) => {
    const file = await openFile(contentPath(roots, object.digest));
    await file?.close();
    if (file?.size === object.size) onBytes(object.size);
    else missing.push(object);
  });
  const blobs = missing.map((each) => ({ ...each, destination: contentPath(roots, each.digest) }));
  await run(checkSpace, {
    place: roots.state,
    blobs: blobs.map((blob) => ({
      ...blob,
      root,
      path: 'to come',
      temporary: '',
      ingest: 'copy' as const,
      uid,
    })),
  });
  await eachOf(blobs, PARALLEL, async ({ key, digest, size, destination }) => {
    const path = await withRetry(async () => {
      const name = randomBytes(8).toString('hex');
      const opened = await store.open(key);
      if (opened === undefined) throw lostObject(store.target, key);
      await receiveStream(opened.body, join(root, name), onBytes).catch((error) => {
        throw cutOff(store.target, key, error);
      });
      return name;
    });
    const temporary = join(root, `${path}.stored`);
    const blob = { digest, size, root, path, destination, temporary, ingest: 'auto', uid } as const;
    await run(ingestRequest, { blobs: [blob] });
  });
}
