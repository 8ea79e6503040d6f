/** An inbox with drops in it, and claims on them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { claimDrop, prepareInbox } from '#src/inbox/claim.js';
import { type Claim, claimPath } from '#src/inbox/inbox-paths.js';
import { signatureOf } from '#src/inbox/signature.js';
import { type Disk, nodeDisk } from '#src/storage/disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

export const NOW = Date.UTC(2026, 10, 23, 15, 26, 34, 123);

export class InboxFixture {
  inbox = '';

  constructor() {
    beforeEach(() => {
      this.inbox = join(tempDir(), 'inbox');
      prepareInbox(nodeDisk, this);
    });
    afterEach(removeTempDirs);
  }

  at(...names: string[]): string {
    return join(this.inbox, ...names);
  }

  /** A drop with one file. */
  makeDrop(path: string): void {
    mkdirSync(this.at(path), { recursive: true });
    writeFileSync(this.at(path, 'index.json'), path);
  }

  take(path: string, change: Partial<Parameters<typeof claimDrop>[1]> = {}, disk: Disk = nodeDisk) {
    const { signature } = signatureOf(nodeDisk, this.at(path));
    const given = { path, signature, owner: 'me', nowMs: NOW, marker: undefined, ...change };
    return claimDrop(disk, { inbox: this.inbox, ...given });
  }

  claim(path: string, change: Parameters<InboxFixture['take']>[1] = {}): Claim {
    this.makeDrop(path);
    const claim = this.take(path, change);
    if (typeof claim === 'string') throw new Error(claim);
    return claim;
  }

  holds(claim: Claim): boolean {
    return existsSync(join(claimPath(this.inbox, claim), 'index.json'));
  }

  /** The names in one of our directories, and in the inbox itself. */
  names(directory: '.claimed' | '.rejected' | '.receipts' | '' = ''): string[] {
    const hidden = directory === '' ? /^\./ : /^$/;
    return readdirSync(this.at(directory)).filter((name) => !hidden.test(name));
  }

  receipt(name: string): unknown {
    return JSON.parse(readFileSync(this.at('.receipts', name), 'utf8'));
  }
}
