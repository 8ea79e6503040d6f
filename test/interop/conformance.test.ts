/**
 * Goal: every requirement of distribution-spec v1.1 for pulls and content discovery is met, checked by
 * requests; the differences of Debian's docker-registry are known and documented.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { AskedRegistry, REQUIREMENTS } from '../support/conformance-requests.js';
import { fillBySkopeo, fillDropdock, type World } from '../support/conformance-world.js';
import { DockerRegistry } from '../support/docker-registry.js';
import { MemoryStore } from '../support/memory-store.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';
import { TestRegistry } from '../support/test-registry.js';
import { needTools } from '../support/tools.js';

const DOC = fileURLToPath(new URL('../../docs/registry.md', import.meta.url));

const hostOf = (url: string) => new URL(url).host;

describe('distribution-spec v1.1', function () {
  this.timeout(60_000);
  let dropdock: TestRegistry;
  let world: World;

  before(async () => {
    dropdock = await TestRegistry.open(tempDir());
    world = await fillDropdock(dropdock);
  });
  after(async () => {
    await dropdock.close();
    removeTempDirs();
  });

  describe('is followed by dropdock', () => {
    for (const { id, end, level, check } of REQUIREMENTS) {
      it(`${id} (${end}, ${level})`, () => check(new AskedRegistry(dropdock.server.url), world));
    }
  });

  describe('is followed by dropdock over an object store', () => {
    let over: TestRegistry;
    before(async () => {
      over = await TestRegistry.open(dropdock.root, { objects: new MemoryStore() });
      over.mirror();
    });
    after(() => over.close());

    for (const { id, end, level, check } of REQUIREMENTS) {
      it(`${id} (${end}, ${level})`, () => check(new AskedRegistry(over.server.url), world));
    }
  });

  describe('is followed by docker-registry 2.8, except for documented differences', () => {
    let docker: DockerRegistry;
    before(async function () {
      needTools(this, 'docker-registry', 'skopeo');
      docker = await DockerRegistry.start(tempDir());
      await fillBySkopeo(world, hostOf(dropdock.server.url), hostOf(docker.url));
    });
    after(() => docker?.stop());

    for (const { id, end, check, docker: difference } of REQUIREMENTS) {
      it(`${id} (${end})${difference ? `: ${difference}` : ''}`, async () => {
        const outcome = await check(new AskedRegistry(docker.url), world).then(
          () => 'kept',
          (error: Error) => `differs: ${error.message}`,
        );
        expect(outcome).to.match(difference ? /^differs/ : /^kept$/);
      });
    }
  });

  it('has one row per requirement in docs/registry.md, each with existing tests', () => {
    const rows = [...readFileSync(DOC, 'utf8').matchAll(/^\| ([A-Z]\d+) \| (.+) \|$/gm)].map(
      ([, id, rest = '']) => ({ id, cells: rest.split(' | ') }),
    );
    const told = rows.map(({ id, cells }) => [id, cells[0], cells[2]].join(', '));
    const kept = REQUIREMENTS.map(({ id, end, level }) => [id, end, level].join(', '));
    expect(told).to.deep.equal(kept);
    for (const { id, cells } of rows) {
      expect(cells, id).to.have.length(4);
      const tests = [...(cells[3] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name);
      expect(tests.length, id).to.be.greaterThan(0);
      for (const name of tests) readFileSync(join(DOC, '../../test', `${name}.test.ts`));
    }
  });

  it('has every difference of docker-registry listed in docs/registry.md', () => {
    const ids = new Map<string, string[]>();
    for (const { id, docker } of REQUIREMENTS) {
      if (docker) ids.set(docker, [...(ids.get(docker) ?? []), id]);
    }
    const lines = [...ids].map(([difference, all]) => `| ${difference} | ${all.join(', ')} |`);
    const told = readFileSync(DOC, 'utf8').split('\n');
    expect(told).to.include.members(lines);
  });
});
