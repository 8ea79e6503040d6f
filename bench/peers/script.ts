/**
 * A script as people write it themselves: inotifywait and a shell script that copies a drop, checks every
 * blob against its name and flips a link. It starts as few processes as possible.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { end, start } from '../children.js';
import { until } from '../command.js';
import { Web } from '../visible.js';

/** $1 inbox, $2 published, $3 `sync` to make each step as durable as in dropdock */
const SCRIPT = `
publish() {
  local name=$1 id=\${1%%:*} stamp
  printf -v stamp '%(%Y%m%dT%H%M%SZ)T-%06d' -1 $((count++))
  local new=$published/master/$id/$stamp
  [ -d "$published/master/$id" ] || mkdir -p "$published/master/$id"
  cp -r "$inbox/$name" "$new.part"
  (cd "$new.part/blobs/sha256" && for each in *; do echo "$each  $each"; done | sha256sum --check --quiet --strict) || return
  if [ "$durable" = sync ]; then find "$new.part" -print0 | xargs -0 sync; fi
  mv "$new.part" "$new"
  if [ "$durable" = sync ]; then sync "$published/master/$id"; fi
  ln -s "../master/$id/$stamp" "$published/web/.$id.next"
  mv -T "$published/web/.$id.next" "$published/web/$id"
  if [ "$durable" = sync ]; then sync "$published/web"; fi
  rm -r "\${inbox:?}/$name"
}
inbox=$1 published=$2 durable=$3 count=0
inotifywait -m -e moved_to --format %f "$inbox" | while IFS= read -r name; do publish "$name"; done
`;

export class Script {
  readonly web: Web;

  private constructor(
    readonly child: ChildProcess,
    readonly inbox: string,
    readonly published: string,
  ) {
    this.web = new Web(published);
  }

  static async start(directory: string, durable: 'sync' | 'no'): Promise<Script> {
    const [inbox, published] = [join(directory, 'inbox'), join(directory, 'published')];
    for (const each of [inbox, join(published, 'web'), join(published, 'master')]) {
      mkdirSync(each, { recursive: true });
    }
    const file = join(directory, 'publish.sh');
    writeFileSync(file, SCRIPT);
    const child = start('bash', [file, inbox, published, durable], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    let errors = '';
    child.stderr?.on('data', (data) => {
      errors += String(data);
    });
    await until('inotifywait', () => errors.includes('Watches established'));
    return new Script(child, inbox, published);
  }

  async stop(): Promise<void> {
    this.web.close();
    await end(this.child);
  }
}
