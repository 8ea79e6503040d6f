/** The uploaders of a soak test: they drop images, read their receipts, and track what must be published. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { blobPath, TestContent } from '../support/make-image.js';
import type { Receipt } from '../support/service.js';

const TAGS = ['1', '2', '3', 'latest', 'stable'];
/** A receipt stays so long: a daemon that died finds by it what it had published (ms). */
const RECEIPT_MS = 3000;

type Kind = 'good' | 'writable' | 'archive' | 'spoilt' | 'nonsense' | 'misnamed';

interface Drop {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  readonly isBad: boolean;
}

export interface Tally {
  published: number;
  unchanged: number;
  rejected: number;
}

export class SoakDrops {
  /** What each repository's tags must be. */
  readonly tags = new Map<string, Map<string, string>>();
  /** By repository and tag, everything that ever was there. */
  readonly #ever = new Set<string>();
  readonly #waiting = new Map<string, Drop>();
  readonly #done = new Map<string, number>();
  readonly tally: Tally = { published: 0, unchanged: 0, rejected: 0 };
  made = 0;

  constructor(
    readonly root: string,
    readonly repositories: readonly string[],
    readonly random: () => number,
  ) {}

  get waiting(): number {
    return this.#waiting.size;
  }

  isWaitedFor(repository: string): boolean {
    return [...this.#waiting.values()].some((drop) => drop.repository === repository);
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }

  /** One drop; no uploader drops a tag whose previous drop is still being processed. */
  make(): void {
    const repository = this.pick(this.repositories);
    const tag = this.pick(TAGS);
    const same = (each: Drop) => each.repository === repository && each.tag === tag;
    if ([...this.#waiting.values()].some(same)) return;
    const label = `d${this.made}`;
    const kind = this.#kind();
    const aside = join(this.root, `.aside-${label}`);
    const { digest, path } = this.#write(aside, kind, repository, label);
    const name =
      kind === 'misnamed' ? `${repository}:-${tag}@${label}` : `${repository}:${tag}@${label}`;
    const target = join(this.root, 'inbox', name);
    mkdirSync(dirname(target), { recursive: true });
    renameSync(path, kind === 'archive' ? `${target}.tar` : target);
    rmSync(aside, { recursive: true, force: true });
    const isBad = kind === 'spoilt' || kind === 'nonsense' || kind === 'misnamed';
    this.#waiting.set(label, { repository, tag, digest, isBad });
    this.made++;
  }

  #kind(): Kind {
    const dice = this.random();
    if (dice < 0.01) return 'spoilt';
    if (dice < 0.02) return 'nonsense';
    if (dice < 0.03) return 'misnamed';
    if (dice < 0.05) return 'archive';
    return dice < 0.2 ? 'writable' : 'good';
  }

  #write(
    aside: string,
    kind: Kind,
    repository: string,
    label: string,
  ): { digest: string; path: string } {
    const content = new TestContent();
    // Now and then the same image again, which changes nothing; what the repository serves already
    // is not read from a drop, so what is spoilt must be new.
    const text = kind === 'spoilt' ? label : `${repository} ${Math.floor(this.random() * 40)}`;
    const image = content.image({ layers: ['base', repository, text.padEnd(2000, label[0])] });
    content.writeLayout(aside, [{ image }]);
    if (kind === 'spoilt') {
      const [victim = ''] = content.blobs.keys();
      const bytes = content.blobs.get(victim) ?? Buffer.alloc(0);
      writeFileSync(blobPath(aside, victim), Buffer.alloc(bytes.length, 'x'));
    }
    if (kind === 'nonsense') writeFileSync(join(aside, 'index.json'), '{"schemaVersion": 7}');
    // As others can still write it, it has to be copied.
    if (kind === 'writable') execFileSync('chmod', ['-R', 'go+w', aside]);
    if (kind !== 'archive') return { digest: image.digest, path: aside };
    execFileSync('tar', [
      '-cf',
      `${aside}/drop.tar`,
      '-C',
      aside,
      'oci-layout',
      'index.json',
      'blobs',
    ]);
    return { digest: image.digest, path: `${aside}/drop.tar` };
  }

  /** Reads the receipts that have come. @returns how many */
  collect(): number {
    const directory = join(this.root, 'inbox', '.receipts');
    let count = 0;
    for (const name of readdirSync(directory)) {
      const label = /@(d\d+)/.exec(name)?.[1];
      if (label === undefined || name.startsWith('.') || this.#done.has(name)) continue;
      const receipt = JSON.parse(readFileSync(join(directory, name), 'utf8')) as Receipt;
      const drop = this.#waiting.get(label);
      if (drop === undefined)
        throw new Error(`a second receipt for ${name}: ${JSON.stringify(receipt)}`);
      this.#conclude(drop, receipt);
      this.#waiting.delete(label);
      this.#done.set(name, performance.now());
      count++;
    }
    return count;
  }

  #conclude({ repository, tag, digest, isBad }: Drop, receipt: Receipt): void {
    expect(receipt.status === 'rejected', JSON.stringify(receipt)).to.equal(isBad);
    this.tally[receipt.status]++;
    if (isBad) return;
    const tags = this.tags.get(repository) ?? new Map<string, string>();
    this.tags.set(repository, tags.set(tag, digest));
    this.#ever.add(`${repository} ${tag} ${digest}`);
  }

  /** Receipts that were read, and what was refused, are the uploaders' to take away. */
  takeAway(all = false): void {
    const inbox = join(this.root, 'inbox');
    for (const [name, readMs] of this.#done) {
      if (!all && performance.now() - readMs < RECEIPT_MS) break;
      rmSync(join(inbox, '.receipts', name), { force: true });
      rmSync(join(inbox, '.rejected', name.replace(/\.json$/, '')), {
        recursive: true,
        force: true,
      });
      this.#done.delete(name);
    }
  }

  /** Was this ever dropped for that tag? A rollback may bring it back. */
  everWas(repository: string, tag: string, digest: string): boolean {
    return this.#ever.has(`${repository} ${tag} ${digest}`);
  }
}
