/** A process that registers as an owner until it is killed. */
import { Owner } from '#src/storage/owner.js';

const owner = new Owner(process.argv[2] ?? '', { heartbeatMs: 60_000, kernel: true });
process.stdout.write(`${owner.token}\n`);
process.stdin.resume();
