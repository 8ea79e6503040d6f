/**
 * Detects manifests that clients would interpret differently. A digest must mean the same for all of them:
 * the checked manifest is the pulled manifest. Pure.
 */
import { DropdockError } from '../errors.js';
import { isDigest } from './digest.js';
import { eachMember } from './json-members.js';

const DESCRIPTOR = [
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'artifactType',
  'platform',
];
const PLATFORM = ['os', 'architecture', 'variant'];

/** The members that define the type and references of a manifest, by the object that contains them. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  '': [
    'schemaVersion',
    'mediaType',
    'artifactType',
    'config',
    'layers',
    'manifests',
    'subject',
    'annotations',
    'fsLayers',
    'history',
    'signatures',
  ],
  config: DESCRIPTOR,
  layers: DESCRIPTOR,
  manifests: DESCRIPTOR,
  subject: DESCRIPTOR,
  'manifests.platform': PLATFORM,
  fsLayers: ['blobSum'],
  signatures: ['header', 'protected', 'signature'],
};

interface Names {
  readonly exact: ReadonlySet<string>;
  readonly byFolded: ReadonlyMap<string, string>;
}

const NAMES: ReadonlyMap<string, Names> = new Map(
  Object.entries(FIELDS).map(([within, names]) => [
    within,
    { exact: new Set(names), byFolded: new Map(names.map((name) => [fold(name), name])) },
  ]),
);

/**
 * Most clients are Go programs. They ignore the case of member names, including Unicode variants of a letter
 * (`ſ`, `K`), and use the last one; other clients compare exact names.
 */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase();
}

/**
 * Refuses members that occur twice in one object, and members that only some clients read as a reference of
 * the manifest.
 * @param bytes valid JSON
 * @throws manifest.ambiguous
 */
export function checkMembers(bytes: Buffer, where: string): void {
  eachMember(bytes, ({ within, name, isRepeated }) => {
    if (isRepeated) throw ambiguous(where, `has the member ${pathOf(within, name)} twice`);
    const names = NAMES.get(within);
    if (names === undefined || names.exact.has(name)) return;
    const field = names.byFolded.get(fold(name));
    if (field === undefined) return;
    throw ambiguous(
      where,
      `has the member ${pathOf(within, name)}, which some clients read as ${field}`,
    );
  });
}

/** @param what the rest of a sentence that begins with the manifest's digest or path */
export function ambiguous(where: string, what: string): DropdockError {
  const details = { path: where, ...(isDigest(where) && { digest: where }) };
  return new DropdockError('manifest.ambiguous', `${where} ${what}.`, details);
}

function pathOf(within: string, name: string): string {
  const text = within === '' ? name : `${within}.${name}`;
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
