/** Bundles with names as containerd, its CRI plugin and others write them, from drop to receipt. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { nodeDisk } from '#src/storage/disk.js';
import { dropdock } from '../../support/daemon-process.js';
import { dropPath } from '../../support/deliver.js';
import { TestContent, type TestDescriptor } from '../../support/make-image.js';
import { makeTar, tarMembers } from '../../support/make-tar.js';
import { readRepository } from '../../support/outside-reader.js';
import { receipts, type TestServices, testDaemon } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';
import { waitFor } from '../../support/wait-for.js';

interface Part {
  readonly repository: string | null;
  readonly name?: string;
  readonly status: string;
  readonly code?: string;
  readonly message?: string;
}

describe('a bundle', () => {
  let root: string;
  let services: TestServices;
  let stop: () => Promise<void>;
  let content: TestContent;

  beforeEach(async () => {
    root = tempDir();
    mkdirSync(dropPath(root, ''), { recursive: true });
    content = new TestContent();
    ({ services, stop } = await testDaemon(root, { disk: nodeDisk }));
  });
  afterEach(async () => {
    await stop();
    removeTempDirs();
  });

  /** An entry of index.json as `ctr images export` writes it. */
  const entry = (image: TestDescriptor, name: string | undefined, ref: string | undefined) => ({
    ...image,
    annotations: {
      ...(name !== undefined && { 'io.containerd.image.name': name }),
      ...(ref !== undefined && { 'org.opencontainers.image.ref.name': ref }),
    },
  });
  function pack(...entries: TestDescriptor[]): Buffer {
    const directory = join(tempDir(), 'layout');
    content.writeLayout(directory, []);
    const index = JSON.stringify({ schemaVersion: 2, manifests: entries });
    writeFileSync(join(directory, 'index.json'), index);
    return makeTar(tarMembers(directory));
  }
  async function drop(name: string, ...entries: TestDescriptor[]) {
    const count = receipts(root).length;
    writeFileSync(dropPath(root, name), pack(...entries));
    await waitFor('its receipt', () => receipts(root).length > count);
    return receipts(root).at(-1) as ReturnType<typeof receipts>[0] & { repositories?: Part[] };
  }
  const published = () => readdirSync(join(root, 'published/web')).sort();
  const seen = (id: string) => readRepository(join(root, 'published'), id);
  const image = (layer: string) => content.image({ layers: [layer] });

  it('publishes an image by digest that containerd names by digest', async () => {
    const one = image('one');
    const full = `registry.example/team/app@${one.digest}`;
    const receipt = await drop('@one.tar', entry(one, full, `@${one.digest}`));
    expect(receipt.repositories).to.have.length(1);
    expect(published()).to.deep.equal(['team~app']);
    expect(seen('team~app')?.tags).to.deep.equal({});
    expect(seen('team~app')?.digests.has(one.digest)).to.equal(true);
  });

  it('uses the tag of a name with tag and digest, and creates no repository for the short form', async () => {
    const one = image('one');
    const full = `registry.example/team/app:1.0@${one.digest}`;
    await drop('@one.tar', entry(one, full, `1.0@${one.digest}`));
    await drop('alone.tar', entry(one, full, `1.0@${one.digest}`));
    expect(published()).to.deep.equal(['alone', 'team~app']);
    expect(seen('team~app')?.tags).to.deep.equal({ '1.0': one.digest });
    expect(seen('alone')?.tags).to.deep.equal({ '1.0': one.digest });
  });

  it('ignores the image id that containerd keeps for Kubernetes', async () => {
    const one = image('one');
    const id = `sha256:${'5'.repeat(64)}`;
    const repository = 'docker.io/library/busybox';
    const entries = [
      entry(one, `${repository}:1.36`, '1.36'),
      entry(one, `${repository}@${one.digest}`, `@${one.digest}`),
      entry(one, id, id),
    ];
    await drop('@cri.tar', ...entries);
    await drop('named.tar', ...entries);
    expect(published()).to.deep.equal(['busybox', 'named']);
    for (const name of published()) expect(seen(name)?.tags).to.deep.equal({ 1.36: one.digest });
  });

  it('merges all spellings of a Docker Hub name into one repository', async () => {
    const names = ['index.docker.io/library/x:1', 'docker.io/library/x:2', 'docker.io/x:3', 'x:4'];
    const short = entry(image('library'), undefined, 'library/x:5');
    await drop('@hub.tar', ...names.map((name) => entry(image(name), name, name)), short);
    expect(published()).to.deep.equal(['x']);
    expect(Object.keys(seen('x')?.tags ?? {})).to.deep.equal(['1', '2', '3', '4', '5']);
  });

  it('rejects an invalid name alone: receipt and log name it, and the others are published', async () => {
    const [good, bad, none] = [image('good'), image('bad'), image('none')];
    const receipt = await drop(
      '@x.tar',
      entry(good, 'registry.example/good:1.0', '1.0'),
      entry(bad, 'registry.example/k3s:v1.20.4+k3s1', 'v1.20.4+k3s1'),
      entry(none, undefined, undefined),
    );
    expect(published()).to.deep.equal(['good']);
    expect(receipt).to.include({ status: 'published' });
    const refused = receipt.repositories?.filter(({ status }) => status === 'rejected') ?? [];
    expect(refused.map(({ repository, name, code }) => [repository, name, code])).to.deep.equal([
      [null, 'registry.example/k3s:v1.20.4+k3s1', 'tag.invalid'],
      [null, none.digest, 'name.invalid'],
    ]);
    expect(refused[0]?.message)
      .to.contain('"v1.20.4+k3s1" is not a valid tag')
      .and.to.contain(bad.digest);
    const lines = await waitFor('both lines', () => {
      const found = services.lines.filter(({ event }) => event === 'drop.rejected');
      return found.length === 2 ? found : undefined;
    });
    expect(lines.map(({ level, fields }) => [level, fields.drop, fields.code])).to.deep.equal([
      ['warn', '@x.tar', 'tag.invalid'],
      ['warn', '@x.tar', 'name.invalid'],
    ]);
  });

  it('is rejected completely when no name is valid', async () => {
    const receipt = await drop('@x.tar', entry(image('one'), 'registry.example/Bad:1', '1'));
    expect(receipt).to.include({ status: 'rejected', code: 'name.invalid' });
    expect(receipt.message).to.contain('"registry.example/Bad:1"');
    expect(readdirSync(dropPath(root, '.rejected'))).to.have.length(1);
  });

  it('that is published by a command reports this in its receipt and its exit code', async () => {
    const path = join(root, 'x.tar');
    const entries = [entry(image('good'), 'good:1', '1'), entry(image('bad'), 'Bad:1', '1')];
    writeFileSync(path, pack(...entries));
    const given = ['publish', path, '--as', '@x', '--json', '--root', root];
    const { code, stdout, stderr } = await dropdock(...given);
    expect(code).to.equal(1);
    const parts: Part[] = JSON.parse(stdout).repositories;
    expect(parts.map(({ status }) => status)).to.deep.equal(['published', 'rejected']);
    expect(stdout + stderr).to.contain('\\"Bad:1\\"');
    expect(seen('good')?.tags).to.have.keys('1');
  });
});
