/**
 * Brings what a snapshot needs into the store: what is there is checked by its size and the digest it
 * was put with, what is not comes from the content store, whose files were hashed when they came in.
 */
import pMap from 'p-map';
import { DropdockError } from '../../errors.js';
import type { Digest } from '../../image/digest.js';
import { type OpenFile, openFile } from '../../storage/serving.js';
import { contentPath, type TreeRoots } from '../../storage/tree-paths.js';
import { isYoung, waitForDeletion } from './delete-unused.js';
import { attributesOf, type NeededObject } from './needed-objects.js';
import type { Upload } from './object-store.js';
import { withRetry } from './retry-request.js';
import type { StoreContext } from './store-context.js';

/** Objects and parts under way at one time, for each publish. */
const PARALLEL = 8;
/** Up to this a put is tried at once: a HEAD before it would cost more than it saves. */
const SMALL_BYTES = 1024 * 1024;
/** Longer ones go in parts of at least this. */
export const PART_BYTES = 8 * 1024 * 1024;
const PARTS_MAX = 10_000;

export interface Brought {
  /** Objects that were sent, and their bytes. */
  readonly sent: number;
  readonly bytes: number;
  /** Those that were there already. */
  readonly present: number;
}

type How = 'sent' | 'present' | 'touched';

/** @throws content.vanished, target.failed, system errors */
export async function bringContent(
  context: StoreContext,
  needs: readonly NeededObject[],
): Promise<Brought> {
  const counts = { sent: 0, bytes: 0, present: 0 };
  let waiting = needs;
  while (waiting.length > 0) {
    const touched = new Map<string, NeededObject>();
    // The large ones first: they take longest.
    const largestFirst = [...waiting].sort((a, b) => b.size - a.size);
    await eachOf(largestFirst, PARALLEL, async (object) => {
      const how = await bring(context, object);
      if (how === 'touched') touched.set(object.key, object);
      if (how !== 'sent') counts.present++;
      else {
        counts.sent++;
        counts.bytes += object.size;
      }
    });
    if (touched.size === 0) break;
    const hadToWait = await waitForDeletion(context, new Set(touched.keys()));
    waiting = hadToWait ? [...touched.values()] : [];
  }
  return counts;
}

async function bring(context: StoreContext, object: NeededObject): Promise<How> {
  const { store, isSingleWriter, budget } = context;
  const { key, size } = object;
  const attributes = attributesOf(object);
  if (size <= SMALL_BYTES && !isSingleWriter) {
    const status = await budget.use(size, async () => {
      const bytes = await readContent(context.roots, object.digest, size);
      const absent = { absent: true } as const;
      return bytes && (await withRetry(() => store.put(key, bytes, attributes, absent))).status;
    });
    if (status === 'done') return 'sent';
  }
  const facts = await withRetry(() => store.head(key));
  if (facts !== undefined && facts.size === size && facts.metadata.digest === object.digest) {
    if (isYoung(facts, context.longestMs)) return 'present';
    if (await withRetry(() => store.touch(key, attributes))) return 'touched';
  }
  await send(context, object);
  return 'sent';
}

/** Puts it whatever is there: it is absent, or not what its key says. */
async function send(context: StoreContext, object: NeededObject): Promise<void> {
  const { store, roots, budget } = context;
  const { key, size, digest } = object;
  const attributes = attributesOf(object);
  const file = await openFile(contentPath(roots, digest));
  if (file?.size !== size) {
    await file?.close();
    throw vanished(context, digest);
  }
  try {
    if (size <= PART_BYTES) {
      await budget.use(size, async () => {
        const bytes = await readPart(file, 0, size);
        await withRetry(() => store.put(key, bytes, attributes));
      });
      return;
    }
    const upload = await withRetry(() => store.beginUpload(key, attributes));
    try {
      await sendParts(context, file, upload);
    } catch (error) {
      await store.abortUpload(upload).catch(() => {
        // The next start does it.
      });
      throw error;
    }
  } finally {
    await file.close();
  }
}

/**
 * Not `@aws-sdk/lib-storage` (read: 3.1175): it bounds the memory of one upload, not of the process, so
 * each upload would hold its share of the budget from its first part to its last, and small objects
 * would wait for large ones. It sends no Content-MD5, leaves retries of a part to the client, and when
 * a completion fails it aborts the upload, so all parts are sent again.
 */
async function sendParts(
  { store, budget }: StoreContext,
  file: OpenFile,
  upload: Upload,
): Promise<void> {
  const partBytes = Math.max(PART_BYTES, Math.ceil(file.size / PARTS_MAX));
  const etags: string[] = [];
  const starts = Array.from({ length: Math.ceil(file.size / partBytes) }, (_, at) => at);
  await eachOf(starts, PARALLEL, async (at) => {
    const start = at * partBytes;
    etags[at] = await budget.use(partBytes, async () => {
      const bytes = await readPart(file, start, Math.min(partBytes, file.size - start));
      return withRetry(() => store.putPart(upload, at + 1, bytes));
    });
  });
  // Completing twice is harmless; an answer that was lost shows in the size.
  await withRetry(async () => {
    try {
      await store.endUpload(upload, etags);
    } catch (error) {
      if ((await store.head(upload.key))?.size !== file.size) throw error;
    }
  });
  const facts = await withRetry(() => store.head(upload.key));
  if (facts?.size !== file.size) {
    throw new DropdockError('target.failed', `${upload.key} did not arrive whole.`, {
      path: upload.key,
      target: store.target,
      outcome: 'unknown',
    });
  }
}

/** Undefined where this machine does not have it: then it must be in the store. */
export async function readContent(
  roots: TreeRoots,
  digest: Digest,
  size: number,
): Promise<Buffer | undefined> {
  const file = await openFile(contentPath(roots, digest));
  try {
    return file?.size === size ? await readPart(file, 0, size) : undefined;
  } finally {
    await file?.close();
  }
}

async function readPart(file: OpenFile, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.handle.read(bytes, at, length - at, start + at);
    if (bytesRead === 0) throw new Error(`a stored file ends at ${start + at}`);
    at += bytesRead;
  }
  return bytes;
}

/**
 * Works on `parallel` items at a time. After a failure no new work begins, and the first failure is
 * thrown when all running work has ended: p-map's own `stopOnError` would not wait for it.
 */
export async function eachOf<T>(
  items: readonly T[],
  parallel: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  const workUnlessFailed = async (item: T) => {
    if (failures.length > 0) return;
    await work(item).catch((error: unknown) => failures.push(error));
  };
  await pMap(items, workUnlessFailed, { concurrency: parallel });
  if (failures.length > 0) throw failures[0];
}

function vanished({ store }: StoreContext, digest: Digest): DropdockError {
  return new DropdockError(
    'content.vanished',
    `${digest} is neither in the content store nor in the target ${store.target}.`,
    { digest, target: store.target },
  );
}
