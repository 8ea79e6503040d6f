/** Conformance: errors, and the responses of a read-only registry to writes. */
import { expect } from 'chai';
import type { Reply } from './ask.js';
import { ABSENT, ABSENT_PATHS, blob, manifest } from './conformance-pull.js';
import type { AskedRegistry, Requirement } from './conformance-requests.js';
import { NAME } from './conformance-world.js';

async function expectErrors(
  registry: AskedRegistry,
  codes: Readonly<Record<string, string>>,
): Promise<void> {
  for (const [path, code] of Object.entries(codes)) {
    expect((await registry.get(path)).code, path).to.equal(code);
  }
}

const errorsOf = ({ json }: Reply) =>
  (json as { errors: { code: unknown; message?: unknown }[] }).errors;

export const ERRORS: readonly Requirement[] = [
  {
    id: 'E1',
    end: 'code-1 to code-14',
    level: 'MUST',
    check: async (registry) => {
      for (const path of [...ABSENT_PATHS, blob('sha256:1'), manifest('1', 'Team')]) {
        const reply = await registry.get(path);
        expect(reply.headers['content-type'], path).to.match(/^application\/json/);
        expect(errorsOf(reply)).to.have.length.greaterThan(0);
        for (const { code, message } of errorsOf(reply)) {
          expect(code).to.match(/^[A-Z_]+$/);
          expect(message ?? '').to.be.a('string');
        }
      }
    },
    docker: 'what is no route at all (an upper-case name) is answered in plain text',
  },
  {
    id: 'E2',
    end: 'code-1, code-7, code-9',
    level: 'MUST',
    check: (registry) =>
      expectErrors(registry, {
        [blob(ABSENT)]: 'BLOB_UNKNOWN',
        [manifest('absent')]: 'MANIFEST_UNKNOWN',
        [manifest(ABSENT)]: 'MANIFEST_UNKNOWN',
        '/v2/nobody/tags/list': 'NAME_UNKNOWN',
      }),
  },
  {
    id: 'E3',
    end: 'code-4, code-8',
    level: 'MUST',
    check: (registry) =>
      expectErrors(registry, {
        [blob('sha256:1')]: 'DIGEST_INVALID',
        [manifest('sha256:1')]: 'DIGEST_INVALID',
        [manifest('1', 'Team')]: 'NAME_INVALID',
      }),
    docker: 'a malformed digest of a manifest is 500 UNKNOWN',
  },
  {
    id: 'W1',
    end: 'end-9, end-10',
    level: 'MUST',
    check: async (registry, { images, layer }) => {
      const paths = [manifest('oci'), manifest(images.oci.digest), blob(layer.digest)];
      for (const path of paths) {
        const { status, code } = await registry.send('DELETE', path);
        expect([status, code], path).to.deep.equal([405, 'UNSUPPORTED']);
      }
    },
  },
  {
    id: 'W2',
    end: 'end-4a, end-7, end-11',
    level: 'MAY',
    check: async (registry) => {
      const uploads = `/v2/${NAME}/blobs/uploads/`;
      const asked = [`POST ${uploads}`, `POST ${uploads}?mount=${ABSENT}&from=x`].concat(
        `PUT ${manifest('new')}`,
      );
      for (const [method = '', path = ''] of asked.map((each) => each.split(' '))) {
        const { status, code, headers } = await registry.send(method, path);
        expect([status, code, headers.allow]).to.deep.equal([405, 'UNSUPPORTED', 'GET, HEAD']);
      }
    },
    docker: 'it takes pushes',
  },
];
