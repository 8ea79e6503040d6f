/**
 * The redirect file for Crane, version 4 (pulp_docker's RedirectFileContext). Pure. The same content gives
 * the same bytes: keys and lists are sorted, and there is no time in it.
 */
import type { Digest } from '../image/digest.js';
import type { RepositoryId, RepositoryName } from '../image/names.js';
import { changeLines, type LineChanges, type LinedText, type Lines, linedText } from './lines.js';

/** The scalars of a redirect file. */
export interface RedirectHeader {
  readonly repository: RepositoryName;
  readonly id: RepositoryId;
  readonly snapshot: string;
  readonly urlTemplate: string;
  readonly protected: boolean;
}

export interface RedirectInput extends RedirectHeader {
  /** Tags and digests under manifests/2. */
  readonly schema2: readonly string[];
  /** Tags and digests under manifests/list. */
  readonly lists: readonly string[];
  /** The digest of the linux/amd64 image for each tag of a list. */
  readonly amd64: ReadonlyMap<string, Digest>;
}

export function renderRedirect(input: RedirectInput): string {
  const fields = withScalars(input, {
    manifest_list_amd64_tags: amd64Tags(input.amd64),
    manifest_list_data: names(input.lists),
    schema2_data: names(input.schema2),
  });
  return block(
    '{',
    fields.map(([key, value]) => ` "${key}": ${value}`),
    '}\n',
  );
}

/** In the order of the file. */
export const REDIRECT_TABLES = [
  'manifest_list_amd64_tags',
  'manifest_list_data',
  'schema2_data',
] as const;
export type RedirectTable = (typeof REDIRECT_TABLES)[number];

/** Builds the same text from the previous tables and the changed names. */
export function nextRedirect(
  last: ReadonlyMap<string, Lines>,
  header: RedirectHeader,
  changes: Readonly<Record<RedirectTable, LineChanges>>,
): LinedText {
  const table = (key: RedirectTable) => changeLines(last.get(key) ?? [], changes[key]);
  const fields = withScalars<string | Lines>(header, {
    manifest_list_amd64_tags: table('manifest_list_amd64_tags'),
    manifest_list_data: table('manifest_list_data'),
    schema2_data: table('schema2_data'),
  });
  return linedText(
    fields.map(([key, value]) =>
      typeof value === 'string'
        ? { key, value }
        : { key, isList: key !== 'manifest_list_amd64_tags', lines: value },
    ),
  );
}

function withScalars<T>(
  header: RedirectHeader,
  tables: Readonly<Record<RedirectTable, T>>,
): (readonly [string, string | T])[] {
  return [
    ['manifest_list_amd64_tags', tables.manifest_list_amd64_tags],
    ['manifest_list_data', tables.manifest_list_data],
    ['protected', JSON.stringify(header.protected)],
    ['repo-registry-id', JSON.stringify(header.repository)],
    ['repository', JSON.stringify(header.id)],
    ['schema2_data', tables.schema2_data],
    ['type', '"pulp-docker-redirect"'],
    ['url', JSON.stringify(fillUrl(header))],
    ['version', '4'],
  ];
}

function names(list: readonly string[]): string {
  return block('[', [...list].sort().map(nameLine), ' ]');
}

/** Built line by line, because an object would move keys that look like numbers to the front. */
function amd64Tags(tags: ReadonlyMap<string, Digest>): string {
  const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
  return block(
    '{',
    sorted.map(([tag, digest]) => amd64Line(tag, digest)),
    ' }',
  );
}

/** Returns the line of a tag or digest in a list. */
export const nameLine = (name: string) => `  ${JSON.stringify(name)}`;
export const amd64Line = (tag: string, digest: Digest) => `${nameLine(tag)}: ["${digest}", 2]`;

function block(open: string, lines: readonly string[], close: string): string {
  return lines.length === 0 ? open + close.trim() : `${open}\n${lines.join(',\n')}\n${close}`;
}

function fillUrl({ urlTemplate, id, repository, snapshot }: RedirectHeader): string {
  const values: Readonly<Record<string, string>> = { id, repository, snapshot };
  return urlTemplate.replace(/\{(id|repository|snapshot)\}/g, (whole, key) => values[key] ?? whole);
}
