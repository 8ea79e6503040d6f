/** A process that acquires a repository lock and holds it until it is killed. */
import { parseRepositoryId } from '#src/image/names.js';
import { lockRepository } from '#src/storage/repository-lock.js';

const [published = '', state = '', id = ''] = process.argv.slice(2);
await lockRepository({ published, state }, parseRepositoryId(id), {
  staleMs: 600_000,
  waitMs: 0,
  kernel: true,
  owner: 'p1x1',
});
process.stdout.write('locked\n');
process.stdin.resume();
