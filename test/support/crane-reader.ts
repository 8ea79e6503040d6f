/**
 * A small reader that follows Crane's published rules (crane/data.py and crane/views/v2.py of pulp/crane,
 * 3.0 to 3.3): load every *.json below the data directory, following links; answer a manifest request
 * with a redirect, depending on the Accept header and the lists of the redirect file.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { RedirectDocument } from './outside-reader.js';

export const ACCEPT = {
  list: 'application/vnd.docker.distribution.manifest.list.v2+json',
  schema2: 'application/vnd.docker.distribution.manifest.v2+json',
} as const;

export class CraneReader {
  readonly #repositories = new Map<string, RedirectDocument>();

  constructor(dataDirectory: string) {
    this.#load(dataDirectory);
  }

  get repositories(): string[] {
    return [...this.#repositories.keys()].sort();
  }

  /** The URL Crane sends a client to that asks for a manifest; undefined is a 404. */
  manifest(repository: string, reference: string, accept: readonly string[]): string | undefined {
    const data = this.#repositories.get(repository);
    if (data === undefined) return undefined;
    const at = (path: string) => `${data.url}manifests/${path}`;
    if (data.manifest_list_data.includes(reference) && accept.includes(ACCEPT.list)) {
      return at(`list/${reference}`);
    }
    const [amd64, version] = data.manifest_list_amd64_tags[reference] ?? [];
    const takesSchema2 = accept.includes(ACCEPT.schema2);
    if (amd64 !== undefined) {
      return at(takesSchema2 || version === 1 ? `${version}/${amd64}` : `1/${reference}`);
    }
    return at(`${takesSchema2 && data.schema2_data.includes(reference) ? 2 : 1}/${reference}`);
  }

  /** For all else it only puts the URL of the files before the path. */
  path(repository: string, path: string): string | undefined {
    const data = this.#repositories.get(repository);
    return data && data.url + path;
  }

  #load(directory: string): void {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      if (statSync(path).isDirectory()) this.#load(path);
      else if (name.endsWith('.json')) {
        const document = JSON.parse(readFileSync(path, 'utf8')) as RedirectDocument;
        if (document.type !== 'pulp-docker-redirect') throw new Error(`${path}: no redirect file`);
        if (![1, 2, 3, 4].includes(document.version)) throw new Error(`${path}: version`);
        if (typeof document.protected !== 'boolean') throw new Error(`${path}: protected`);
        this.#repositories.set(document['repo-registry-id'], document);
      }
    }
  }
}
