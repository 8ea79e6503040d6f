/**
 * The redirect file that Crane reads, version 4 (pulp_docker's RedirectFileContext). Pure; the same
 * content gives the same bytes: keys and lists sorted, no time in it.
 */
import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName } from '../image/names.js';

export interface RedirectInput {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly snapshot: string;
  readonly urlTemplate: string;
  readonly protected: boolean;
  /** Tags and digests under manifests/2. */
  readonly schema2: readonly string[];
  /** Tags and digests under manifests/list. */
  readonly lists: readonly string[];
  /** For a tag of a list, the digest of its linux/amd64 image. */
  readonly amd64: ReadonlyMap<string, Digest>;
}

export function renderRedirect(input: RedirectInput): string {
  const fields: readonly [string, string][] = [
    ['manifest_list_amd64_tags', amd64Tags(input.amd64)],
    ['manifest_list_data', names(input.lists)],
    ['protected', JSON.stringify(input.protected)],
    ['repo-registry-id', JSON.stringify(input.repository)],
    ['repository', JSON.stringify(input.id)],
    ['schema2_data', names(input.schema2)],
    ['type', '"pulp-docker-redirect"'],
    ['url', JSON.stringify(fillUrl(input))],
    ['version', '4'],
  ];
  return block(
    '{',
    fields.map(([key, value]) => ` "${key}": ${value}`),
    '}\n',
  );
}

function names(list: readonly string[]): string {
  return block(
    '[',
    [...list].sort().map((name) => `  ${JSON.stringify(name)}`),
    ' ]',
  );
}

/** Written by hand because an object would move keys that look like numbers to the front. */
function amd64Tags(tags: ReadonlyMap<string, Digest>): string {
  const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([tag, digest]) => `  ${JSON.stringify(tag)}: ["${digest}", 2]`);
  return block('{', lines, ' }');
}

function block(open: string, lines: readonly string[], close: string): string {
  return lines.length === 0 ? open + close.trim() : `${open}\n${lines.join(',\n')}\n${close}`;
}

function fillUrl({ urlTemplate, id, repository, snapshot }: RedirectInput): string {
  const values: Readonly<Record<string, string>> = { id, repository, snapshot };
  return urlTemplate.replace(/\{(id|repository|snapshot)\}/g, (whole, key) => values[key] ?? whole);
}
