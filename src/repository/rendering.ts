/**
 * Keeps the rendering of the last snapshot, so that the next one is built from it and from the changes.
 * Rendering 10,000 tags took 0.2 s of a publish of 0.5 s that changed one line. The result is always the same
 * as that of `renderSnapshot`. Pure.
 */
import type { Digest } from '../image/digest.js';
import type { Tag } from '../image/names.js';
import {
  blobFile,
  type ContentFile,
  manifestFiles,
  type RedirectOci,
  renderContent,
  tagFiles,
} from './content-files.js';
import {
  changeLines,
  hasLine,
  type LineChanges,
  type LinedText,
  type Lines,
  linedText,
  readTables,
} from './lines.js';
import { amd64Line, nameLine, nextRedirect, REDIRECT_TABLES } from './redirect-file.js';
import {
  amd64Tags,
  type RenderOptions,
  redirectFileName,
  redirectHeader,
  renderRedirectFile,
  renderReferrerFiles,
  renderTagsList,
  SNAPSHOT_FILE,
  type TextFile,
} from './render.js';
import {
  type SnapshotHeader,
  serialiseSnapshot,
  snapshotLine,
  snapshotScalars,
  TABLES,
  type Table,
  tableTexts,
} from './snapshot-file.js';
import type { RepositoryState } from './state.js';
import { changedKeys, type StateChange, stateChange } from './state-change.js';

/** A text that is always rewritten. */
export type FreshText = Omit<TextFile, 'text'> & { readonly text: string | readonly Buffer[] };

/** The content files that changed since the last snapshot; generated texts are not in `put`. */
export interface FileChange {
  /** Paths that were removed or have other content now. */
  readonly gone: readonly string[];
  /** Files that are new, have other content, or were listed in `gone`. */
  readonly put: readonly ContentFile[];
}

export interface Rendering {
  readonly state: RepositoryState;
  readonly redirectOci: RedirectOci;
  /** The redirect file is the last. */
  readonly texts: readonly FreshText[];
  /** The number of content files, including texts among the manifests. */
  readonly files: number;
  /** The changes since the last snapshot, if it was known. */
  readonly change?: FileChange;
  readonly kept: Kept;
}

/** The input for the next rendering. */
interface Kept {
  readonly snapshot: ReadonlyMap<string, Lines>;
  readonly redirect: ReadonlyMap<string, Lines>;
  /** Sorted. */
  readonly tags: readonly Tag[];
  readonly amd64: ReadonlyMap<string, Digest>;
  /** Paths of generated texts in the manifest directories. */
  readonly texts: readonly string[];
}

/** @param last the rendering of the last snapshot, if known */
export function render(
  last: Rendering | undefined,
  state: RepositoryState,
  options: RenderOptions,
): Rendering {
  return last?.redirectOci === options.redirectOci && last.state.id === state.id
    ? renderNext(last, state, options)
    : renderWhole(state, options);
}

function renderWhole(state: RepositoryState, options: RenderOptions): Rendering {
  const { redirectOci } = options;
  const snapshot = Buffer.from(serialiseSnapshot(state, options));
  const redirect = Buffer.from(renderRedirectFile(state, options));
  const tags = [...state.tags.keys()].sort();
  const referrers = renderReferrerFiles(state);
  const among = textsAmongManifests(referrers);
  return {
    state,
    redirectOci,
    texts: textFiles(state, { referrers, tags, snapshot: [snapshot], redirect: [redirect] }),
    files: renderContent(state, redirectOci).length + among.length,
    kept: {
      snapshot: readTables(snapshot, TABLES),
      redirect: readTables(redirect, REDIRECT_TABLES),
      tags,
      amd64: amd64Tags(state),
      texts: among,
    },
  };
}

function renderNext(last: Rendering, state: RepositoryState, options: RenderOptions): Rendering {
  const { redirectOci, kept } = last;
  const change = stateChange(last.state, state, kept.snapshot.get('blobs'));
  const { pieces: snapshot, tables } = nextSnapshotText(kept.snapshot, state, options, change);
  const referrers = renderReferrerFiles(state);
  const files = fileChange(last, state, change);
  const gone = [...files.gone, ...kept.texts];
  const among = textsAmongManifests(referrers);
  // Recomputed for all lists: the image of a list may have been added after the list.
  const lists = kept.redirect.get('manifest_list_data') ?? [];
  const hasLists = lists.length > 0 || files.put.some(({ path }) => path.startsWith(LISTS));
  const amd64 = hasLists ? amd64Tags(state) : kept.amd64;
  const redirect = nextRedirect(kept.redirect, redirectHeader(state, options), {
    manifest_list_amd64_tags: linesOf(changedKeys(kept.amd64, amd64), (tag) => {
      const image = amd64.get(tag);
      return image === undefined ? null : amd64Line(tag, image);
    }),
    manifest_list_data: changedNames(files, LISTS),
    schema2_data: changedNames(files, 'manifests/2/'),
  });
  const tags = nextTags(kept.tags, change.tags, state.tags);
  return {
    state,
    redirectOci,
    texts: textFiles(state, { referrers, tags, snapshot, redirect: redirect.pieces }),
    files: last.files - gone.length + files.put.length + among.length,
    change: { gone, put: files.put },
    kept: {
      snapshot: tables,
      redirect: redirect.tables,
      tags,
      amd64,
      texts: among,
    },
  };
}

interface Texts {
  readonly referrers: readonly TextFile[];
  readonly tags: readonly Tag[];
  readonly snapshot: readonly Buffer[];
  readonly redirect: readonly Buffer[];
}

function textFiles(state: RepositoryState, { referrers, tags, ...made }: Texts): FreshText[] {
  return [
    ...referrers,
    ...renderTagsList(state, tags),
    { path: SNAPSHOT_FILE, text: made.snapshot },
    { path: redirectFileName(state.id), text: made.redirect },
  ];
}

function textsAmongManifests(files: readonly TextFile[]): string[] {
  return files.map(({ path }) => path).filter((path) => path.startsWith('manifests/'));
}

const LISTS = 'manifests/list/';

/** Returns the content files whose path or bytes changed since the last snapshot. */
function fileChange(
  { state: before, redirectOci, kept }: Rendering,
  after: RepositoryState,
  { manifests, tags, blobs }: ReturnType<typeof stateChange>,
): FileChange {
  const was = new Map<string, ContentFile>();
  const is = new Map<string, ContentFile>();
  const note = (into: Map<string, ContentFile>, files: readonly ContentFile[]) => {
    for (const file of files) into.set(file.path, file);
  };
  for (const digest of manifests) {
    note(was, manifestFiles(before, digest, redirectOci));
    note(is, manifestFiles(after, digest, redirectOci));
  }
  for (const tag of tags) {
    note(was, tagFiles(before, tag, redirectOci));
    note(is, tagFiles(after, tag, redirectOci));
  }
  for (const [digest, size] of blobs) {
    if (size !== null) note(is, [blobFile(digest, size)]);
    if (hasLine(kept.snapshot.get('blobs'), digest)) note(was, [blobFile(digest, 0)]);
  }
  const gone: string[] = [];
  for (const [path, file] of was) {
    const next = is.get(path);
    if (next && contentOf(next) === contentOf(file)) is.delete(path);
    else gone.push(path);
  }
  return { gone, put: [...is.values()] };
}

function contentOf(file: ContentFile): string {
  return 'tagged' in file ? `tagged ${file.tagged}` : file.content;
}

/** Returns the added and removed names below a directory. */
function changedNames({ gone, put }: FileChange, directory: string): LineChanges {
  const changes = new Map<string, string | null>();
  const note = (path: string, line: (name: string) => string | null) => {
    const name = path.slice(directory.length);
    if (path.startsWith(directory)) changes.set(name, line(name));
  };
  for (const path of gone) note(path, () => null);
  for (const { path } of put) note(path, nameLine);
  return changes;
}

function linesOf<K extends string>(
  keys: Iterable<K>,
  toLine: (key: K) => string | null,
): LineChanges {
  return new Map([...keys].map((key) => [key, toLine(key)]));
}

/** Returns the sorted tags without re-reading all of them. */
function nextTags(
  sorted: readonly Tag[],
  changed: ReadonlySet<Tag>,
  tags: RepositoryState['tags'],
): readonly Tag[] {
  const all = sorted.filter((tag) => !changed.has(tag));
  return [...all, ...[...changed].filter((tag) => tags.has(tag))].sort();
}

/**
 * Builds `.snapshot.json` from the previous one: only changed lines are rewritten.
 *
 * @param last the tables of the text before `change`
 * @returns the same text as `serialiseSnapshot`
 */
function nextSnapshotText(
  last: ReadonlyMap<string, Lines>,
  state: RepositoryState,
  header: SnapshotHeader,
  change: StateChange,
): LinedText {
  const text: Readonly<Record<Table, (key: never) => string | undefined>> = tableTexts(
    state,
    change.blobs,
  );
  return linedText([
    ...snapshotScalars(state, header).map(([key, value]) => ({ key, value })),
    ...TABLES.map((key) => {
      const lines = last.get(key) ?? [];
      const changes = new Map<string, string | null>();
      for (const each of change[key].keys()) {
        const value = text[key](each as never);
        changes.set(each, value === undefined ? null : snapshotLine(each, value));
      }
      return { key, isList: false, lines: changeLines(lines, changes) };
    }),
  ]);
}
