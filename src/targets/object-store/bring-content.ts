/**
 * Uploads the content that a snapshot needs. Existing objects are checked by their size and the digest they
 * were stored with; missing objects are uploaded from the content store, whose files were verified when they
 * were stored.
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

/** Concurrent uploads of objects and parts, for each publish. */
const PARALLEL = 8;
/** Objects up to this size are uploaded without a HEAD request first, which would cost more than it saves. */
const SMALL_BYTES = 1024 * 1024;
/** Larger objects are uploaded in parts of at least this size. */
export const PART_BYTES = 8 * 1024 * 1024;
const PARTS_MAX = 10_000;

export interface Brought {
  /** Number of uploaded objects, and their size. */
  readonly sent: number;
  readonly bytes: number;
  /** Number of objects that already existed. */
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
    // The largest objects take longest, so they start first.
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

/** Uploads an object that is missing or does not match its key. */
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
        // The next start of the daemon aborts it.
      });
      throw error;
    }
  } finally {
    await file.close();
  }
}

/**
 * Does not use `@aws-sdk/lib-storage` (version 3.1175 reviewed): it limits the memory of one upload, not of
 * the process, so each upload would hold its share of the budget until its end, and small objects would wait
 * for large ones. It sends no Content-MD5, leaves retries of a part to the client, and aborts the upload if
 * its completion fails, so all parts are sent again.
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
  // Completing twice is harmless; if the response was lost, the size shows whether the upload is complete.
  await withRetry(async () => {
    try {
      await store.endUpload(upload, etags);
    } catch (error) {
      if ((await store.head(upload.key))?.size !== file.size) throw error;
    }
  });
  const facts = await withRetry(() => store.head(upload.key));
  if (facts?.size !== file.size) {
    throw new DropdockError('target.failed', `${upload.key} was not uploaded completely.`, {
      path: upload.key,
      target: store.target,
      outcome: 'unknown',
    });
  }
}

/** Undefined if the content store does not contain it; then it must be in the store. */
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
 * Processes `parallel` items at a time. After an error it starts no new work, waits for all running work, and
 * throws the first error: p-map's own `stopOnError` would not wait.
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
