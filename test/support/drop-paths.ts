/** Random paths of drops: valid ones in every spelling, and arbitrary ones. */

type Random = () => number;

const LABELS = ['@x', '@build-4711', '@a~b', '@a:b=c', '@', '@%40^', '@x.y@z'];
const EXTENSIONS = ['', '.tar', '.tar.gz', '.tgz', '.tar.zst', '.oci', '.docker'];

export interface RandomDrop {
  readonly path: string;
  readonly isFile: boolean;
  readonly isBundle: boolean;
}

/** A path that names a repository, or a bundle, in one of the ways the README tells of. */
export function dropPathFrom(random: Random): RandomDrop {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const word = () => {
    const length = 1 + Math.floor(random() * (random() < 0.1 ? 40 : 6));
    return Array.from({ length }, () => pick([...'abcz059'])).join('');
  };
  const part = () =>
    [word(), ...(random() < 0.3 ? [word()] : [])].join(pick(['.', '_', '__', '-']));
  const colon = () => pick([':', ':', '=']);
  const registry = random() < 0.3 ? [`${part()}${colon()}${1 + Math.floor(random() * 65535)}`] : [];
  const directories = [
    ...(random() < 0.3 ? [part()] : []),
    ...registry,
    ...Array.from({ length: Math.floor(random() * 4) }, part),
  ];
  const isFile = random() < 0.5;
  const isBundle = random() < 0.1;
  // A port is followed by a real directory: as one component it may be a tag.
  const separators = directories.map((each) => (/[:=]/.test(each) ? '/' : pick(['/', '/', '~'])));
  const tag = random() < 0.6 ? `${colon()}${pick(['1', '5000', '1.2', 'latest', 'v1_a-b'])}` : '';
  const label = isBundle ? '@all' : random() < 0.4 ? pick(LABELS) : '';
  const name = isBundle ? '' : `${part()}${tag}`;
  const parents = directories.map((each, at) => each + separators[at]).join('');
  // Without anything to tell it, a file below host:port may be a part of an image.
  const below = parents.slice(0, parents.lastIndexOf('/') + 1);
  const isPlain = name !== '' && tag === '' && label === '' && /[:=][^/]*\/$/.test(below);
  const extension = !isFile ? '' : isPlain ? '.tar' : pick(EXTENSIONS);
  const path = parents + name + label + extension;
  return path.length <= 200 ? { path, isFile, isBundle } : dropPathFrom(random);
}

/** Up to 200 characters that a path may hold, most of them such that mean something. */
export function anyPath(random: Random): string {
  const characters = [...'~~~//@@^^%%25E40:=.abAB\n\\é '];
  const length = 1 + Math.floor(random() * (random() < 0.2 ? 200 : 12));
  const text = Array.from(
    { length },
    () => characters[Math.floor(random() * characters.length)],
  ).join('');
  const path = text.split('/').filter(Boolean).join('/');
  return path === '' ? 'a' : path;
}
