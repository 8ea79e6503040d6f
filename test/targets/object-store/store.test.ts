/** The requirements for a store, tested on our double; gateway.test.ts tests the same on a real one. */
import { expect } from 'chai';
import type { ObjectStore } from '#src/targets/object-store/object-store.js';
import { itIsAStore } from '../../support/is-a-store.js';
import { openDouble, TEXT } from '../../support/object-stores.js';
import { S3Double } from '../../support/s3-double.js';
import { removeTempDirs } from '../../support/temp-dir.js';

for (const kind of ['aws', 'radosgw'] as const) {
  describe(`objects: a store (our double, as ${kind})`, () => {
    let double: S3Double;
    let store: ObjectStore;
    before(async () => {
      double = await S3Double.start({ kind });
      store = await openDouble(double);
    });
    after(async () => {
      store.close();
      await double.stop();
      removeTempDirs();
    });
    itIsAStore(() => store);
  });
}

describe('objects: a failing store', () => {
  let double: S3Double;
  let store: ObjectStore;
  beforeEach(async () => {
    double = await S3Double.start();
    store = await openDouble(double, { timeoutMs: 200 });
  });
  afterEach(async () => {
    store.close();
    await double.stop();
    removeTempDirs();
  });

  const failure = async (trouble: S3Double['trouble']) => {
    double.trouble = trouble;
    const error = await store.put('key', Buffer.from('text'), TEXT).then(
      () => undefined,
      (thrown) => thrown,
    );
    return error as { code: string; message: string; details: Record<string, unknown> };
  };

  for (const trouble of ['cut before', 'cut after', 'silent after', 'error after', 503] as const) {
    it(`reports an unknown outcome of a put: ${trouble}`, async () => {
      const { code, details } = await failure(() => trouble);
      expect(code).to.equal('target.failed');
      expect(details.outcome).to.equal('unknown');
      const isThere = trouble === 'cut before' || trouble === 503 ? 0 : 1;
      expect(double.objects.size).to.equal(isThere);
      expect(double.requests, 'sent once').to.have.length(1);
    });
  }

  it('reports a rejected put, without the secret', async () => {
    const { details, message } = await failure(() => 403);
    expect(details).to.include({ outcome: 'refused', status: 403 });
    expect(message).to.equal('The target eu answered 403 AccessDenied for key.');
  });

  it('does not report a rejection as a lost race', async () => {
    double.trouble = () => 403;
    const error = await store
      .put('key', Buffer.from('text'), TEXT, { absent: true })
      .catch((e) => e);
    expect(error.details.outcome).to.equal('refused');
    for (const status of [409, 412]) {
      double.trouble = () => status;
      const result = await store.put('key', Buffer.from('text'), TEXT, { absent: true });
      expect(result).to.deep.equal({ status: 'lost', code: status });
    }
  });
});
