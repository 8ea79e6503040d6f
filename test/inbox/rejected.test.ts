/** Rejected drops are listed with their reasons, whatever replaces a receipt file. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseRepositoryName } from '#src/image/names.js';
import { listRejected } from '#src/inbox/rejected.js';
import { nodeDisk } from '#src/storage/disk.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

const at = (n: number) => `2026112${n}T000000.000Z`;

describe('the list of rejected drops', () => {
  let inbox: string;

  beforeEach(() => {
    inbox = tempDir();
    for (const name of ['.rejected', '.receipts']) mkdirSync(join(inbox, name));
  });
  afterEach(removeTempDirs);

  function reject(name: string, receipt?: string): void {
    mkdirSync(join(inbox, '.rejected', name, 'content'), { recursive: true });
    if (receipt !== undefined) writeFileSync(join(inbox, '.receipts', `${name}.json`), receipt);
  }

  it('is sorted newest first, limited, and empty without rejected drops', () => {
    const none = listRejected(nodeDisk, { inbox: join(inbox, 'none'), count: 9 });
    expect(none).to.deep.equal({ drops: [], total: 0 });
    const receipt = { drop: 'team/a@b:1', code: 'digest.mismatch', message: 'why', hint: 'do' };
    reject(`team~a@b:1@${at(1)}`, JSON.stringify(receipt));
    for (const n of [3, 2]) reject(`app@${at(n)}`);
    reject('stranger');
    const newest = listRejected(nodeDisk, { inbox, count: 2 });
    expect(newest.drops.map((each) => each.at)).to.deep.equal([at(3), at(2)]);
    expect(newest.total).to.equal(3);
    const [, , oldest] = listRejected(nodeDisk, { inbox, count: 9 }).drops;
    expect(oldest).to.deep.equal({ ...receipt, claim: 'team~a@b:1', at: at(1) });
  });

  it('can be limited to one repository', () => {
    for (const name of ['app:1.tar', 'app', 'team~app:1', 'apple', '@all.tar']) {
      reject(`${name}@${at(1)}`);
    }
    const repository = parseRepositoryName('app');
    const { drops, total } = listRejected(nodeDisk, { inbox, count: 9, repository });
    expect(drops.map(({ drop }) => drop)).to.have.members(['app:1.tar', 'app']);
    expect(total).to.equal(2);
  });

  it('uses only short texts from a receipt', () => {
    reject(`a@${at(1)}`, '{"code": 7, "message": ["x"], "hint": null}');
    reject(`b@${at(2)}`, 'broken');
    reject(`c@${at(3)}`, JSON.stringify({ message: 'x'.repeat(10_000) }));
    reject(`d@${at(4)}`, 'null');
    reject(`e@${at(5)}`);
    symlinkSync('/etc/passwd', join(inbox, '.receipts', `e@${at(5)}.json`));
    const found = listRejected(nodeDisk, { inbox, count: 9 }).drops;
    expect(found.map(({ drop }) => drop)).to.deep.equal(['e', 'd', 'c', 'b', 'a']);
    const gone = 'The receipt is missing.';
    expect(found.map(({ message }) => message.slice(0, gone.length))).to.deep.equal([
      gone,
      gone,
      'x'.repeat(gone.length),
      gone,
      '',
    ]);
    expect(found[2]?.message).to.have.length(2000);
  });
});
