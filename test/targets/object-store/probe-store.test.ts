/** A store is probed before anything is published to it, and cleaned of uploads of dead publishers. */
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
    it(`accepts ${kind}, detects its ETag format, and leaves nothing`, async () => {
      const { context } = new StorePublisher(await open({ kind }));
      await probeStore(context, 'nonce');
      expect(context.memory.stripsQuotes).to.equal(kind === 'radosgw');
      expect([...double.objects.keys()]).to.deep.equal([]);
    });
  }

  it('rejects a store that ignores any kind of condition', async () => {
    const store = await open({ ignoresConditions: true });
    const { context } = new StorePublisher(store);
    const error = await probeStore(context, 'nonce').catch((thrown) => thrown);
    expect(error.code).to.equal('target.unfit');
    expect(error.message).to.include('replaces an existing object');
    expect([...double.objects.keys()], 'nothing is left').to.deep.equal([]);
    for (const [name, sentence] of [
      ['etag', 'replaces a changed object'],
      ['missing', 'instead of replacing'],
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

  it('stops a daemon with a message, unless it is the only writer', async () => {
    double = await S3Double.start({ ignoresConditions: true });
    const root = tempDir();
    const file = join(root, 'credentials');
    writeFileSync(file, JSON.stringify({ accessKeyId: 'me', secretAccessKey: 'hush' }));
    const yaml = (more = '') => `targets:
  eu: {type: s3, endpoint: "${double.endpoint}", bucket: images, pathStyle: true,
    prefix: some/where, credentialsFile: ${file}${more}}\n`;
    const error = await testDaemon(join(root, 'a'), { yaml: yaml() }).catch((thrown) => thrown);
    expect(error.code).to.equal('target.unfit');
    expect(error.message).to.match(/^The target eu replaces an existing object/);
    const daemon = await testDaemon(join(root, 'b'), { yaml: yaml(', singleWriter: true') });
    await daemon.stop();
    const store = await openDouble(double);
    const publisher = await new StorePublisher(store, { isSingleWriter: true }).prepare();
    await publisher.publish(await publisher.stage('1'));
    await publisher.publish(await publisher.stage('2'));
    expect(checkStore(double)).to.deep.equal(['1', '2']);
  });

  it('aborts abandoned uploads', async () => {
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

  it('reads credentials in the format of AWS tools and as JSON', async () => {
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
