/** The requirements for an object store, as tests that run on any store. */
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { TEXT } from './object-stores.js';

const bytes = (text: string) => Buffer.from(text);

/** Of every store, whatever it is. */
export function itIsAStore(open: () => ObjectStore): void {
  it('returns an object as it was put, with its metadata', async () => {
    const attributes = { ...TEXT, contentEncoding: 'gzip' as const, metadata: { digest: 'a:b' } };
    expect(await open().put('a b/ü+%2F', gzipSync('text'), attributes)).to.include({
      status: 'done',
    });
    const found = await open().get('a b/ü+%2F');
    if (found === undefined || found === 'same') throw new Error('it is not there');
    expect(String(found.body)).to.equal('text');
    expect(found.metadata).to.deep.equal({ digest: 'a:b' });
    expect(found.contentType).to.equal('text/plain');
    expect(Math.abs(Date.now() - found.modifiedMs)).to.be.below(60_000);
    expect(Math.abs((found.storeMs ?? 0) - found.modifiedMs)).to.be.below(60_000);
    expect(await open().get('a b/ü+%2F', found.etag)).to.equal('same');
    expect(await open().head('a b/ü+%2F')).to.deep.include({ etag: found.etag });
  });

  it('reports a missing object', async () => {
    expect(await open().get('nowhere')).to.equal(undefined);
    expect(await open().head('nowhere')).to.equal(undefined);
    expect(await open().open('nowhere')).to.equal(undefined);
    expect(await open().touch('nowhere', TEXT)).to.equal(false);
    await open().remove(['nowhere']);
  });

  it('creates an object only once with a must-not-exist condition', async () => {
    const put = (text: string) => open().put('once', bytes(text), TEXT, { absent: true });
    const results = await Promise.all(['1', '2', '3', '4', '5'].map(put));
    expect(results.filter(({ status }) => status === 'done')).to.have.length(1);
  });

  it('returns ranges', async () => {
    await open().put('ranged', bytes('0123456789'), TEXT);
    const { body, size } = (await open().open('ranged', { start: 2, end: 4 })) ?? {};
    expect(size).to.equal(3);
    expect(String(Buffer.concat(await (body?.toArray() ?? [])))).to.equal('234');
  });

  it('uploads large objects in parts', async () => {
    const part = Buffer.alloc(5 * 1024 * 1024, 7);
    const upload = await open().beginUpload('large', TEXT);
    const etags = [
      await open().putPart(upload, 1, part),
      await open().putPart(upload, 2, bytes('end')),
    ];
    await open().endUpload(upload, etags);
    const facts = await open().head('large');
    expect(facts).to.include({ size: part.length + 3, contentType: 'text/plain' });
    const left = await open().beginUpload('left', TEXT);
    const seen: string[] = [];
    for await (const page of open().listUploads()) seen.push(...page.map(({ key }) => key));
    expect(seen).to.deep.equal(['left']);
    await open().abortUpload(left);
    await open().abortUpload(left);
    expect(await open().head('left')).to.equal(undefined);
  });

  it('lists and deletes', async () => {
    const keys = ['l/1', 'l/2', 'l/d/3', 'l/d/4', 'l/e/5'];
    await Promise.all(keys.map((key) => open().put(key, bytes(key), TEXT)));
    const list = async (directories: boolean) => {
      const found: string[] = [];
      for await (const page of open().list('l/', { directories })) {
        found.push(...page.objects.map(({ key }) => key), ...page.directories);
      }
      return found;
    };
    expect(await list(false)).to.deep.equal(keys);
    expect(await list(true)).to.deep.equal(['l/1', 'l/2', 'd', 'e']);
    await open().remove(keys.slice(1));
    expect(await list(false)).to.deep.equal(['l/1']);
  });

  it('renews an object without sending its bytes', async () => {
    await open().put('old', bytes('old'), TEXT);
    const attributes = { ...TEXT, metadata: { kept: 'yes' } };
    expect(await open().touch('old', attributes)).to.equal(true);
    const facts = await open().head('old');
    expect(facts?.metadata).to.deep.equal({ kept: 'yes' });
    expect(facts?.size).to.equal(3);
  });

  it('allows anonymous reads with a signed URL', async () => {
    await open().put('signed', bytes('text'), TEXT);
    const response = await fetch(await open().presign('signed', 60));
    expect(await response.text()).to.equal('text');
    expect(response.headers.get('content-type')).to.equal('text/plain');
  });
}
