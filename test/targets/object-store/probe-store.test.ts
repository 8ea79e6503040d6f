/** A store is tried before anything is published to it, and tidied of what dead publishers left. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseCredentials } from '#src/targets/object-store/credentials.js';
import { abortOldUploads, probeStore } from '#src/targets/object-store/probe-store.js';
import { openDouble, TEXT } from '../../support/object-stores.js';
import { type DoubleOptions, S3Double } from '../../support/s3-double.js';
import { testDaemon } from '../../support/service.js';
import { checkStore, StorePublisher } from '../../support/store-publisher.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

describe('objects: the probe of a store', () => {
  let double: S3Double;
  afterEach(async () => {
    await double.stop();
    removeTempDirs();
  });
  const open = async (options: DoubleOptions = {}) => {
    double = await S3Double.start(options);
    return openDouble(double);
  };

  for (const kind of ['aws', 'radosgw'] as const) {
    it(`finds ${kind} fit, learns how it wants its ETags, and leaves nothing`, async () => {
      const { context } = new StorePublisher(await open({ kind }));
      await probeStore(context, 'nonce');
      expect(context.memory.stripsQuotes).to.equal(kind === 'radosgw');
      expect([...double.objects.keys()]).to.deep.equal([]);
    });
  }

  it('finds one unfit that ignores conditions, whichever', async () => {
    const store = await open({ ignoresConditions: true });
    const { context } = new StorePublisher(store);
    const error = await probeStore(context, 'nonce').catch((thrown) => thrown);
    expect(error.code).to.equal('target.unfit');
    expect(error.message).to.include('must be absent');
    expect([...double.objects.keys()], 'nothing is left').to.deep.equal([]);
    for (const [name, sentence] of [
      ['etag', 'has changed'],
      ['missing', 'to be replaced'],
    ] as const) {
      // One that keeps the first condition, and not this one.
      const half = Object.create(store, {
        put: {
          value: (key: string, body: Buffer, attributes: typeof TEXT, condition: object = {}) => {
            const isMissing = key.endsWith('missing');
            if ('absent' in condition) return { status: 'lost', code: 412 };
            const isKept = name === 'missing' && !isMissing && 'etag' in condition;
            return isKept ? { status: 'lost', code: 412 } : store.put(key, body, attributes);
          },
        },
      });
      const refused = await probeStore({ ...context, store: half }, 'n').catch((thrown) => thrown);
      expect(refused.message).to.include(sentence);
    }
  });

  it('keeps a daemon from it, with a sentence, unless it is the only writer', async () => {
    double = await S3Double.start({ ignoresConditions: true });
    const root = tempDir();
    const file = join(root, 'credentials');
    writeFileSync(file, JSON.stringify({ accessKeyId: 'me', secretAccessKey: 'hush' }));
    const yaml = (more = '') => `targets:
  eu: {type: s3, endpoint: "${double.endpoint}", bucket: images, pathStyle: true,
    prefix: some/where, credentialsFile: ${file}${more}}\n`;
    const error = await testDaemon(join(root, 'a'), { yaml: yaml() }).catch((thrown) => thrown);
    expect(error.code).to.equal('target.unfit');
    expect(error.message).to.match(/^The target eu writes over an object/);
    const daemon = await testDaemon(join(root, 'b'), { yaml: yaml(', singleWriter: true') });
    await daemon.stop();
    const store = await openDouble(double);
    const publisher = await new StorePublisher(store, { isSingleWriter: true }).prepare();
    await publisher.publish(await publisher.stage('1'));
    await publisher.publish(await publisher.stage('2'));
    expect(checkStore(double)).to.deep.equal(['1', '2']);
  });

  it('aborts the uploads that nobody is at any more', async () => {
    const store = await open();
    const { context } = new StorePublisher(store);
    await store.beginUpload('blobs/old', TEXT);
    double.nowMs = () => Date.now() + 2 * context.longestMs;
    await store.beginUpload('blobs/young', TEXT);
    expect(await abortOldUploads(context)).to.equal(1);
    expect([...double.uploads.values()].map(({ key }) => key)).to.deep.equal([
      'some/where/blobs/young',
    ]);
  });

  it('reads credentials as the tools of AWS write them, and as JSON', async () => {
    double = await S3Double.start();
    const ini =
      '[default]\naws_access_key_id = a\naws_secret_access_key=b\n[other]\naws_access_key_id = c\n';
    expect(parseCredentials(ini)).to.deep.equal({ accessKeyId: 'a', secretAccessKey: 'b' });
    const json = { accessKeyId: 'a', secretAccessKey: 'b', sessionToken: 'c' };
    expect(parseCredentials(JSON.stringify(json))).to.deep.equal(json);
    expect(parseCredentials('{"secretAccessKey": "hush"')).to.deep.equal({});
    const file = join(tempDir(), 'credentials');
    for (const text of ['{"secretAccessKey": "hush"', 'aws_secret_access_key = hush', undefined]) {
      if (text !== undefined) writeFileSync(file, text);
      const credentialsFile = text === undefined ? `${file}-absent` : file;
      const store = await openDouble(double, { credentialsFile });
      const error = await store.head('key').catch((thrown) => thrown);
      expect(error.code).to.equal('target.failed');
      expect(error.message).to.include('no usable credentials');
      expect(JSON.stringify(error) + error.stack).not.to.include('hush');
    }
    expect(double.requests).to.deep.equal([]);
  });
});
