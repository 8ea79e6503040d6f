/**
 * Manifests that two clients would read in two ways. One digest must have one meaning for all of them:
 * what was checked here is what is pulled there. Pure.
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

/** The members that say what a manifest is and refers to, by the object they belong to. */
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
 * Programs in Go, which is most clients, read a member whatever its case, also where Unicode has other
 * letters of that case (`ſ`, `K`), and the last one wins; others go by the exact name.
 */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase();
}

/**
 * Refuses members that occur twice in one object, and members that only some clients take for one that
 * says what the manifest refers to.
 * @param bytes a text that `JSON.parse` reads
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

/** @param what completes a sentence that begins with the manifest's digest or path */
export function ambiguous(where: string, what: string): DropdockError {
  const details = { path: where, ...(isDigest(where) && { digest: where }) };
  return new DropdockError('manifest.ambiguous', `${where} ${what}.`, details);
}

function pathOf(within: string, name: string): string {
  const text = within === '' ? name : `${within}.${name}`;
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
