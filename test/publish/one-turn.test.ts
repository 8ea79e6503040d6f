/** Goal: of two drops of one turn that give the same tag the later one wins, whatever kind each is. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { publishContext } from '#src/daemon/services.js';
import { parseRepositoryName } from '#src/image/names.js';
import type { DropToPublish } from '#src/publish/drop.js';
import { publishRepository } from '#src/publish/publish.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { toTimestamp } from '#src/snapshot/timestamp.js';
import { makeLayout, sha256 } from '../support/make-image.js';
import { dockerSaveMembers, makeTar } from '../support/make-tar.js';
import { readRepository } from '../support/outside-reader.js';
import { testServices } from '../support/service.js';
import { removeTempDirs, tempDir } from '../support/temp-dir.js';

describe('drops of one turn', () => {
  afterEach(removeTempDirs);

  for (const last of ['directory', 'file'] as const) {
    it(`give a tag to the later one, a ${last}`, async () => {
      const root = tempDir();
      const services = await testServices(root);
      const how = {
        tag: undefined,
        tolerateAbsent: true,
        ingest: 'copy',
        compress: 'none',
      } as const;
      const given = (kind: DropToPublish['kind']): DropToPublish => ({
        name: kind,
        path: join(root, 'drops', kind),
        kind,
        at: toTimestamp(kind === last ? 2000 : 1000),
        ...how,
      });
      mkdirSync(join(root, 'drops'));
      const { digest } = makeLayout(given('directory').path, { layers: ['a'], tag: '1' });
      const members = dockerSaveMembers([{ names: ['x:1'], layers: ['b'] }], sha256);
      writeFileSync(given('file').path, makeTar(members));
      const drops = [given(last === 'file' ? 'directory' : 'file'), given(last)];
      const policy = resolveRepository(services.settings, parseRepositoryName('app'));
      await publishRepository(publishContext(services), policy, drops);
      const tags = readRepository(join(root, 'published'), 'app')?.tags ?? {};
      expect(JSON.stringify(tags).includes(digest)).to.equal(last === 'directory');
      await services.close();
    });
  }
});
