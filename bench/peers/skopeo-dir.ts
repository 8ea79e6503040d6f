/** A careful script without a registry: `skopeo copy` into a new directory, then flip a link. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { shell } from '../command.js';

/** $1 layout, $2 published directory, $3 name of the new directory */
const SCRIPT = `
skopeo copy --quiet "$1" "dir:$2/master/$3"
ln -s "../master/$3" "$2/web/.next"
mv -T "$2/web/.next" "$2/web/app"
`;

/** @param from `oci:<directory>:<tag>` */
export async function copyAndFlip(from: string, published: string, name: string): Promise<void> {
  for (const each of ['master', 'web']) mkdirSync(join(published, each), { recursive: true });
  await shell(SCRIPT, from, published, name);
}
