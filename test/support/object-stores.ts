/** The stores on which the object store tests run. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type {
  Attributes,
  ObjectStore,
  StoreOptions,
} from '#src/targets/object-store/object-store.js';
import { openStore } from '#src/targets/object-store/s3-store.js';
import type { S3Double } from './s3-double.js';
import { tempDir } from './temp-dir.js';

export const TEXT: Attributes = { contentType: 'text/plain', cacheControl: 'no-cache' };

/** Keys of the double's owner; it believes anybody. */
export function credentialsFile(id = 'id', secret = 'secret'): string {
  const path = join(tempDir(), 'credentials');
  writeFileSync(path, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`);
  return path;
}

export function doubleOptions(double: S3Double, more: Partial<StoreOptions> = {}): StoreOptions {
  return {
    target: 'eu',
    endpoint: double.endpoint,
    bucket: double.bucket,
    prefix: 'some/where',
    region: 'us-east-1',
    pathStyle: true,
    credentialsFile: credentialsFile(),
    timeoutMs: 2000,
    ...more,
  };
}

export function openDouble(double: S3Double, more?: Partial<StoreOptions>): Promise<ObjectStore> {
  return openStore(doubleOptions(double, more));
}

/** The same store; `hook` is waited for before each call. */
export function beforeEachCall(store: ObjectStore, hook: () => Promise<void>): ObjectStore {
  const hooked = (name: string, value: (...given: unknown[]) => unknown) =>
    name.startsWith('list')
      ? async function* (...given: unknown[]) {
          await hook();
          yield* value.apply(store, given) as AsyncIterable<unknown>;
        }
      : async (...given: unknown[]) => {
          await hook();
          return value.apply(store, given);
        };
  return new Proxy(store, {
    get: (_store, name) => {
      const value = Reflect.get(store, name);
      return typeof value === 'function' ? hooked(String(name), value) : value;
    },
  });
}
