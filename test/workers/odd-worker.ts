/** A worker that misbehaves on request, for example dies. Imports no project code. */
import { appendFileSync } from 'node:fs';

export async function runJob({ request }: { readonly request: unknown }): Promise<unknown> {
  if (request === 'exit') process.exit(3);
  if (request === 'answer with a function') return { ok: true, result: () => {} };
  if (request === 'answer with a buffer') return { ok: true, result: Buffer.from([1, 2, 3]) };
  if (request === 'throw later') {
    throwLater(0);
    return new Promise(() => {});
  }
  if (request === 'fail when idle') throwLater(100);
  if (typeof request === 'object' && request !== null && 'write' in request) {
    for (;;) appendFileSync(String(request.write), 'x');
  }
  return { ok: true, result: undefined };
}

export function doNothing(): void {}

function throwLater(ms: number): void {
  setTimeout(() => {
    throw new Error('nobody caught this');
  }, ms);
}
