/** The page of a tag: what it holds, what is attached to it, and how it is found. */
import { expect } from 'chai';
import { TestContent, type TestDescriptor } from '../support/make-image.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { describeOver, TestRegistry } from '../support/test-registry.js';

const EVIL = `"><script>alert(1)</script><img src=x onerror=alert(2)>`;
const HELM = 'application/vnd.cncf.helm';

describeOver('the page of a tag', () => {
  let registry: TestRegistry;
  let content: TestContent;

  beforeEach(async () => {
    registry = await TestRegistry.open(tempDir(), { page: {} });
    content = new TestContent();
  });
  afterEach(async () => {
    await registry.close();
    removeTempDirs();
  });

  const textOf = async (path: string) =>
    (await registry.get(path, { host: 'images.example.com' })).body.toString('utf8');

  function image(config: object, annotations = {}): TestDescriptor {
    const type = 'application/vnd.oci.image';
    const text = JSON.stringify({ os: 'linux', architecture: 'amd64', ...config });
    const manifest = {
      schemaVersion: 2,
      mediaType: `${type}.manifest.v1+json`,
      config: content.add(text, `${type}.config.v1+json`),
      layers: [content.add('x'.repeat(3000), `${type}.layer.v1.tar+gzip`)],
      annotations,
    };
    return content.add(JSON.stringify(manifest), manifest.mediaType);
  }

  it('tells when the image was created, what it runs, its labels and its layers', async () => {
    const run = { Entrypoint: ['/bin/web', '-v'], User: 'www', Labels: { 'org.team': 'blue' } };
    const tagged = image({ created: '2026-11-24T10:00:00Z', config: run }, { note: 'reviewed' });
    await registry.drop('app', content, [{ image: tagged, tag: '1.0' }]);
    const text = await textOf('/-/image/app:1.0');
    expect(text).to.contain('created <time datetime="2026-11-24T10:00:00.000Z"');
    expect(text).to.contain('[&quot;/bin/web&quot;,&quot;-v&quot;]').and.contain('www');
    expect(text).to.contain('org.team').and.contain('blue').and.contain('reviewed');
    expect(text)
      .to.match(/Layers <span class="count">1</)
      .and.contain('2.93 KiB');
  });

  it('escapes labels and annotations, and handles fields of any type', async () => {
    const labels = { [EVIL]: EVIL, number: 7, nothing: null };
    const odd = { created: EVIL, config: { Entrypoint: EVIL, Cmd: [EVIL, 1], Labels: labels } };
    const other = { created: 3, config: { Entrypoint: 5, Cmd: {}, Labels: [1], ExposedPorts: [] } };
    const roots = [
      { image: image(odd, { [EVIL]: EVIL }), tag: '1' },
      { image: image(other), tag: '2' },
      { image: image({ config: null, created: null }), tag: '3' },
    ];
    await registry.drop('app', content, roots);
    const text = await textOf('/-/image/app:1');
    expect(text).to.contain('&lt;script&gt;');
    for (const path of ['/-/image/app:1', '/-/image/app:2', '/-/image/app:3', '/?q=script']) {
      const { status, body } = await registry.get(path);
      expect(status, path).to.equal(200);
      expect(body.toString('utf8'), path).to.not.match(/<script>|<img/);
    }
  });

  it('has a bounded size, whatever labels an image has', async () => {
    const labels = Object.fromEntries(
      Array.from({ length: 500 }, (_none, n) => [`label-${n}`, 'y'.repeat(200)]),
    );
    const long = image({ config: { Labels: { long: 'z'.repeat(100_000) } } });
    const huge = image({ config: { Labels: { long: 'z'.repeat(400_000) } } });
    const roots = [
      { image: image({ config: { Labels: labels } }), tag: 'many' },
      { image: long, tag: 'long' },
      { image: huge, tag: 'huge' },
    ];
    await registry.drop('app', content, roots);
    expect(await textOf('/-/image/app:many')).to.contain('and 400 more');
    for (const tag of ['many', 'long', 'huge']) {
      const text = await textOf(`/-/image/app:${tag}`);
      expect(text.length, tag).to.be.below(100_000);
      expect(text).to.contain('docker pull images.example.com/app:');
    }
  });

  it('shows a manifest whose bytes do not tell its type, and those beside it', async () => {
    const bare = content.add('{"schemaVersion":2}', 'application/vnd.oci.image.index.v1+json');
    const large = content.image({ annotations: { long: 'x'.repeat(300_000) } });
    await registry.drop('app', content, [
      { image: bare, tag: 'bare' },
      { image: large, tag: 'large' },
      { image: content.image(), tag: 'plain' },
    ]);
    const tags = await textOf('/-/tags/app');
    expect(tags).to.contain('app:bare').and.contain('app:large').and.contain('linux/amd64');
    expect(await textOf('/-/image/app:bare')).to.contain('oci.image.index.v1+json');
    expect(await textOf('/-/image/app:large')).to.contain('too large to be shown');
  });

  it('shows each platform with its size, and copies all of them', async () => {
    const images = ['amd64', 'arm64'].map((architecture, n) =>
      content.image({
        layers: ['x'.repeat(2000 * (n + 1))],
        platform: { os: 'linux', architecture },
      }),
    );
    await registry.drop('app', content, [{ image: content.index(images), tag: '1' }]);
    const text = await textOf('/-/image/app:1');
    expect(text)
      .to.match(/linux\/amd64<\/th>.*4\.\d+ KiB/)
      .and.match(/linux\/arm64<\/th>.*8\.\d+ KiB/);
    expect(text).to.contain('Layers of linux/amd64');
    expect(text).to.contain(`/-/image/app@${images[0]?.digest}`).and.contain('skopeo copy --all');
    expect(await textOf('/-/tags/app')).to.contain('linux/amd64, linux/arm64');
  });

  it('shows a chart, a module and an artifact as what they are', async () => {
    const chart = content.image({
      configType: `${HELM}.config.v1+json`,
      layerType: `${HELM}.chart.content.v1.tar+gzip`,
    });
    const wasm = content.image({
      configType: 'application/vnd.wasm.config.v0+json',
      layerType: 'application/wasm',
    });
    const other = content.image({ artifactType: 'application/vnd.example.rules' });
    await registry.drop('chart', content, [{ image: chart, tag: '1.2.3_build.4' }]);
    await registry.drop('other', content, [
      { image: wasm, tag: 'module' },
      { image: other, tag: 'rules' },
    ]);
    const charted = await textOf('/-/image/chart:1.2.3_build.4');
    expect(charted).to.contain(
      'helm pull oci://images.example.com/chart --version 1.2.3+build.4 --plain-http<',
    );
    expect(charted).to.contain('Helm chart').and.not.contain('docker pull');
    expect(await textOf('/-/tags/chart')).to.contain('Helm chart');
    for (const [tag, kind] of [
      ['module', 'WASM module'],
      ['rules', 'Artifact'],
    ] as const) {
      const text = await textOf(`/-/image/other:${tag}`);
      expect(text).to.contain(kind).and.not.contain('docker pull');
      expect(text).to.contain(`oras pull --plain-http images.example.com/other:${tag}<`);
    }
    expect(await textOf('/-/image/other:rules')).to.contain('application/vnd.example.rules');
  });

  it('lists signatures, SBOMs and attestations at their image, and hides their tags', async () => {
    const signed = content.image({ layers: ['signed'] });
    const hex = signed.digest.slice('sha256:'.length);
    const signature = content.image({ layers: ['signature'] });
    const attestation = content.image({ layers: ['attestation'] });
    const sbom = content.image({ subject: signed, artifactType: 'application/spdx+json' });
    const lost = `sha256-${'0'.repeat(64)}.sig`;
    await registry.drop('app', content, [
      { image: signed, tag: '1.0' },
      { image: signature, tag: `sha256-${hex}.sig` },
      { image: attestation, tag: `sha256-${hex}.att` },
      { image: sbom },
      { image: content.image({ layers: ['lost'] }), tag: lost },
    ]);
    const text = await textOf('/-/image/app:1.0');
    expect(text).to.contain('Attached <span class="count">3<');
    for (const [kind, { digest }] of [
      ['Signature', signature],
      ['Attestation', attestation],
      ['SBOM', sbom],
    ] as const) {
      expect(text).to.match(new RegExp(`${kind}</th>.*/-/image/app@${digest}`));
      expect(await textOf(`/-/image/app@${digest}`)).to.contain(`@${digest}`);
    }
    const tags = await textOf('/-/tags/app');
    expect(tags).to.contain('2 tags').and.contain(lost).and.not.contain(`sha256-${hex}.sig<`);
    expect(tags).to.contain('<span class="badge">SBOM</span>');
  });

  it('is found by its name, its digest and its labels, in all repositories', async () => {
    const labelled = image({ config: { Labels: { team: 'Blue-Whale' } } });
    await registry.drop('one', content, [{ image: labelled, tag: 'v1.0' }]);
    await registry.drop('two', content, [{ image: content.image(), tag: 'other-7' }]);
    const found = async (q: string) => {
      const text = await textOf(`/?q=${encodeURIComponent(q)}`);
      return [...text.matchAll(/href="\/-\/image\/([^"]+)"/g)].map(([, name]) => name);
    };
    expect(await found('blue-w')).to.deep.equal(['one:v1.0']);
    expect(await found('ther-7')).to.deep.equal(['two:other-7']);
    expect(await found(labelled.digest)).to.deep.equal(['one:v1.0']);
    expect(await found(labelled.digest.slice(7, 19))).to.deep.equal(['one:v1.0']);
    expect(await found('absent')).to.deep.equal([]);
    expect(await textOf('/?q=blue-w')).to.contain('<bdi>team</bdi> = <bdi>Blue-Whale</bdi>');
  });
});
