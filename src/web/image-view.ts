/** The view of one tag, or of a manifest by its digest: how to pull it, and what it holds. */
import { KIND_NAMES } from '../image/content-kind.js';
import type { Attached } from '../repository/attached.js';
import type { SnapshotFacts, TagRow } from '../repository/summary.js';
import { formatBytes } from '../units.js';
import { type Html, html, type Shown } from './html.js';
import {
  attachedKind,
  type ChildDetails,
  type ConfigDetails,
  type Listed,
  type ManifestDetails,
  type Named,
} from './image-details.js';
import * as parts from './page-parts.js';
import { pullCommands } from './pull-commands.js';
import { frame, type Looked } from './repository-view.js';

export interface ImageView {
  readonly facts: SnapshotFacts;
  /** Undefined for a manifest that is shown by its digest. */
  readonly tag: string | undefined;
  readonly digest: string;
  /** The tag's row, or that of a tag with this digest. */
  readonly row: TagRow | undefined;
  /** Undefined if it is too large or too odd to be shown. */
  readonly manifest: ManifestDetails | undefined;
  /** The image itself; of an index, its first image. Its layers and its config are shown. */
  readonly image: ManifestDetails | undefined;
  readonly config: ConfigDetails | undefined;
  /** The registry's name in image references: `images.example.com`. */
  readonly registry: string;
  readonly isEncrypted: boolean;
}

export function imagePage(view: ImageView, looked: Looked): Html {
  const { facts, tag, digest, manifest } = view;
  const { repository } = facts;
  const kind = manifest?.kind ?? 'image';
  const isIndex = (manifest?.children.length ?? 0) > 0;
  const commands = pullCommands({ ...view, repository, kind, isIndex });
  const text = tag === undefined ? `${repository}@${digest}` : `${repository}:${tag}`;
  return frame(
    facts,
    undefined,
    looked,
    [
      html`<h2>Pull</h2>`,
      commands.map(parts.command),
      aboutSection(view),
      platformsSection(view),
      layersSection(view),
      namedSection('Labels', view.config?.labels),
      namedSection('Annotations', manifest?.annotations),
      attachedSection(repository, view.row),
    ],
    { text, about: aboutLine(view, looked.nowMs) },
  );
}

function aboutLine({ manifest, row, config }: ImageView, nowMs: number): Shown {
  const created = Date.parse(config?.created ?? '');
  return [
    KIND_NAMES[manifest?.kind ?? 'image'],
    row && html`, ${formatBytes(row.bytes)}, published ${parts.agoOf(row.at, nowMs)}`,
    Number.isFinite(created) && html`, created ${parts.ago(created, nowMs)}`,
  ];
}

function aboutSection({ digest, manifest, row, config, facts }: ImageView): Shown {
  const subject = manifest?.subject;
  const about: (readonly [string, Shown])[] = [
    ['Digest', html`<code>${digest}</code>`],
    ['Type', manifest?.type],
    ['Media type', manifest?.mediaType],
    ['Attached to', subject !== undefined && digestLink(facts.repository, subject)],
    ['Platform', manifest && manifest.children.length === 0 && config?.platform],
    ['Created', config?.created],
    ...(config?.fields ?? []).map(([label, text]) => [label, html`<code>${text}</code>`] as const),
    ['From the drop', row && parts.name(row.drop)],
  ];
  return [
    manifest === undefined &&
      html`<p class="quiet">This manifest is too large to be shown in detail, or cannot be read.</p>`,
    html`<h2>About</h2>`,
    parts.definitions(about.filter(([, text]) => text !== undefined && text !== false)),
  ];
}

function platformsSection({ manifest, row, facts }: ImageView): Shown {
  if (manifest === undefined || manifest.children.length === 0) return undefined;
  const byDigest = new Map(row?.children.map((child) => [child.digest, child.bytes]));
  const rows = manifest.children.map((child) => {
    const bytes = byDigest.get(child.digest);
    const isHeld = bytes !== undefined || row === undefined;
    return [
      platformText(child, manifest.children),
      isHeld ? digestLink(facts.repository, child.digest) : parts.shortDigest(child.digest),
      bytes === undefined ? (isHeld ? '–' : 'not published') : formatBytes(bytes),
    ];
  });
  const columns = [{ label: 'Platform' }, { label: 'Digest' }, { label: 'Size', isNumber: true }];
  return [html`<h2>Platforms</h2>`, parts.table('Platforms', columns, rows, 'facts')];
}

function platformText({ platform, attests }: ChildDetails, all: readonly ChildDetails[]): string {
  if (attests === undefined) return platform ?? '–';
  const subject = all.find(({ digest }) => digest === attests)?.platform;
  return subject === undefined ? 'Attestation' : `Attestation of ${subject}`;
}

function layersSection({ manifest, image, config }: ImageView): Shown {
  const { items, count } = image?.layers ?? { items: [], count: 0 };
  const of = image === manifest ? undefined : config?.platform;
  if (items.length === 0) return undefined;
  const rows = items.map(({ title, mediaType, digest, size }, at) => [
    title === undefined ? `${at + 1}` : parts.name(title),
    mediaType,
    parts.shortDigest(digest),
    size === undefined ? '–' : formatBytes(size),
  ]);
  const columns = [
    { label: 'Layer' },
    { label: 'Type' },
    { label: 'Digest' },
    { label: 'Size', isNumber: true },
  ];
  return [
    html`<h2>Layers${of !== undefined && ` of ${of}`} <span class="count">${count}</span></h2>`,
    parts.table('Layers', columns, rows, 'facts'),
    moreThan(items.length, count),
  ];
}

function namedSection(heading: string, listed: Listed<Named> | undefined): Shown {
  if (listed === undefined || listed.count === 0) return undefined;
  const { items, count } = listed;
  return [
    html`<h2>${heading} <span class="count">${count}</span></h2>`,
    parts.definitions(
      items.map(([key, text]) => [parts.name(key), parts.name(text)]),
      'named',
    ),
    moreThan(items.length, count),
  ];
}

/** Signatures, SBOMs and attestations. */
function attachedSection(repository: string, row: TagRow | undefined): Shown {
  if (row === undefined || row.attachedCount === 0) return undefined;
  const rows = row.attached.map((each) => [
    KIND_NAMES[attachedKind(each)],
    attachedText(each),
    digestLink(repository, each.digest),
    formatBytes(each.bytes),
  ]);
  const columns = [
    { label: 'Attached' },
    { label: 'Type' },
    { label: 'Digest' },
    { label: 'Size', isNumber: true },
  ];
  return [
    html`<h2>Attached <span class="count">${row.attachedCount}</span></h2>`,
    parts.table('Attached', columns, rows, 'facts'),
    moreThan(row.attached.length, row.attachedCount),
  ];
}

function attachedText({ tag, artifactType }: Attached): Shown {
  return tag === undefined
    ? artifactType
    : html`<span title="${tag}">tag ${tag.slice(0, 15)}…${tag.slice(tag.lastIndexOf('.'))}</span>`;
}

function digestLink(repository: string, digest: string): Html {
  return html`<a href="${parts.imageAddress(repository, { digest })}">${parts.shortDigest(digest)}</a>`;
}

function moreThan(shown: number, count: number): Shown {
  return count > shown && html`<p class="quiet">and ${parts.formatCount(count - shown)} more</p>`;
}
