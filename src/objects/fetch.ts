/** Brings what a store's snapshot needs into the content store of this machine, checked. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { RunJob } from '../disk/hands.js';
import { receiveStream } from '../disk/receive.js';
import { openFile } from '../disk/serving.js';
import type { PublishJobs } from '../publish/jobs.js';
import { contentPath, workPath } from '../publish/paths.js';
import { eachOf } from './content.js';
import type { StoreContext } from './context.js';
import { lostObject } from './current.js';
import type { NeededObject } from './needed.js';
import { patiently } from './patience.js';
import { cutOff } from './store.js';

const PARALLEL = 4;

export interface FetchOptions {
  readonly run: RunJob<PublishJobs>;
  readonly transaction: string;
  readonly uid: number;
  /** Told of bytes as they come. */
  readonly onBytes: (count: number) => void;
}

/** What is here already is not fetched again. @throws target.damaged, target.failed, system errors */
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
  await run('checkSpace', {
    place: roots.state,
    blobs: blobs.map((blob) => ({
      ...blob,
      root,
      path: 'to come',
      temporary: '',
      ingest: 'copy',
      uid,
    })),
  });
  await eachOf(blobs, PARALLEL, async ({ key, digest, size, destination }) => {
    const path = await patiently(async () => {
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
    await run('ingest', { blobs: [blob] });
  });
}
