/**
 * Clients that pull in parallel, completely and continuously, while a tree changes; afterwards every
 * response is checked. Each way of serving gets the same requests.
 */
import type { MovingTree } from './moving-tree.js';
import { type Pulled, pull } from './puller.js';

export interface Way {
  readonly name: string;
  /** `http://127.0.0.1:5000` */
  readonly url: string;
  /** It may answer from what was the truth so long ago: Crane polls. */
  readonly behindMs?: number;
}

export interface Tally {
  readonly way: string;
  pulls: number;
  absent: number;
  notModified: number;
  readonly failures: string[];
}

interface Observation extends Pulled {
  readonly way: Way;
  readonly repository: string;
  readonly tag: string;
  /** For a 304: what the client has. */
  readonly held: string | undefined;
}

const FAILURES_SHOWN = 5;

/** Flips `flips` times while `clients` clients for each way pull. @returns one tally for each way */
export async function pullUnderFlips(
  tree: MovingTree,
  ways: readonly Way[],
  { flips, clients }: { readonly flips: number; readonly clients: number },
): Promise<Tally[]> {
  const seen: Observation[] = [];
  const tallies = new Map<string, Tally>(
    ways.map(({ name }) => [
      name,
      { way: name, pulls: 0, absent: 0, notModified: 0, failures: [] },
    ]),
  );
  const running = { is: true };
  const loops = ways.flatMap((way) =>
    Array.from({ length: clients }, () => client(tree, way, running, seen, tallies.get(way.name))),
  );
  for (let flip = 0; flip < flips; flip++) await tree.flip();
  running.is = false;
  await Promise.all(loops);
  for (const each of seen) judge(tree, each, tallies.get(each.way.name));
  return [...tallies.values()];
}

async function client(
  tree: MovingTree,
  way: Way,
  running: { readonly is: boolean },
  seen: Observation[],
  tally: Tally | undefined,
): Promise<void> {
  const held = new Map<string, { etag: string | null; digest: string | undefined }>();
  for (let round = 0; running.is; round++) {
    const repository = tree.repositories[round % tree.repositories.length] ?? '';
    const tag = round % 3 === 0 ? '2' : '1';
    const before = held.get(`${repository}:${tag}`);
    try {
      const etag = round % 3 === 2 ? before?.etag : null;
      const options = { url: way.url, repository, tag, etag: etag ?? null };
      const pulled = await pull(options);
      seen.push({ ...pulled, way, repository, tag, held: before?.digest });
      if (pulled.digest) held.set(`${repository}:${tag}`, pulled);
    } catch (error) {
      tally?.failures.push((error as Error).message);
    }
  }
}

function judge(tree: MovingTree, each: Observation, tally: Tally | undefined): void {
  if (tally === undefined) return;
  const { way, repository, tag, digest, notModified, held, askedMs, answeredMs } = each;
  if (notModified) tally.notModified++;
  else if (digest === undefined) tally.absent++;
  else tally.pulls++;
  const between = [askedMs - (way.behindMs ?? 0), answeredMs] as const;
  const wrong = tree.judge(repository, tag, notModified ? held : digest, between);
  if (wrong) tally.failures.push(`${notModified ? 'a stale 304: ' : ''}${wrong}`);
}

export function describeTally({ way, pulls, absent, notModified, failures }: Tally): string {
  const some = failures.slice(0, FAILURES_SHOWN).map((each) => `\n          ${each}`);
  return `${way}: ${pulls} pulls, ${notModified} not modified, ${absent} absent, ${failures.length} failed${some.join('')}`;
}
