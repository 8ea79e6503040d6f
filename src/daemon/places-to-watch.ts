/** Finds the paths where the missing content of an incomplete drop will appear. Pure. */
import { dirname, join } from 'node:path';
import type { Missing } from '../image/staged-content.js';
import type { Observation } from '../inbox/scan.js';

/** Limit of watched directories for one drop; an image layout has three. */
const PLACES_PER_DROP_MAX = 20;

/** @returns paths below the inbox: the archive, or the directories in which files are missing */
export function placesToWatch(
  { path, kind }: Pick<Observation, 'path' | 'kind'>,
  missing: readonly Pick<Missing, 'path'>[],
): readonly string[] {
  if (kind === 'file') return [path];
  const places = new Set([path]);
  for (const { path: file } of missing) {
    if (places.size >= PLACES_PER_DROP_MAX) break;
    const place = join(path, dirname(file));
    if (place.startsWith(`${path}/`)) places.add(place);
  }
  return [...places];
}
