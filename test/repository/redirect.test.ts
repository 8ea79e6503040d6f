import { expect } from 'chai';
import type { Digest } from '#src/image/digest.js';
import type { RepositoryId, RepositoryName } from '#src/image/names.js';
import { type RedirectInput, renderRedirect } from '#src/repository/redirect-file.js';

const INPUT: RedirectInput = {
  repository: 'team/app' as RepositoryName,
  id: 'team~app' as RepositoryId,
  snapshot: '20261123T152634.123Z',
  urlTemplate: 'https://host/pulp/docker/v2/{id}/',
  protected: false,
  schema2: [],
  lists: [],
  amd64: new Map(),
};
const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;

describe('renderRedirect', () => {
  it('has every field of version 4, sorted, for an empty repository', () => {
    expect(renderRedirect(INPUT)).to.equal(`{
 "manifest_list_amd64_tags": {},
 "manifest_list_data": [],
 "protected": false,
 "repo-registry-id": "team/app",
 "repository": "team~app",
 "schema2_data": [],
 "type": "pulp-docker-redirect",
 "url": "https://host/pulp/docker/v2/team~app/",
 "version": 4
}
`);
  });

  it('sorts lists as text, including tags that look like numbers', () => {
    const schema2 = ['latest', '9', '10', DIGEST];
    const amd64 = new Map(['9', 'b', '10'].map((tag) => [tag, DIGEST]));
    const text = renderRedirect({ ...INPUT, schema2, lists: ['b', 'a'], amd64 });
    const redirect = JSON.parse(text) as Record<string, unknown>;
    expect(redirect.schema2_data).to.deep.equal(['10', '9', 'latest', DIGEST]);
    expect(redirect.manifest_list_data).to.deep.equal(['a', 'b']);
    const at = ['"10": [', '"9": [', '"b": ['].map((part) => text.indexOf(part));
    expect(at).not.to.include(-1);
    expect(at).to.deep.equal([...at].sort((a, b) => a - b));
  });

  it('includes the digest of the linux/amd64 image with its schema version', () => {
    const text = renderRedirect({ ...INPUT, amd64: new Map([['__proto__', DIGEST]]) });
    expect(text).to.include(`"__proto__": ["${DIGEST}", 2]`);
  });

  const urls: readonly [string, string][] = [
    ['https://cdn/{id}/{snapshot}/', 'https://cdn/team~app/20261123T152634.123Z/'],
    ['https://cdn/{repository}/{repository}', 'https://cdn/team/app/team/app'],
    ['https://cdn/{other}/{ID}/', 'https://cdn/{other}/{ID}/'],
  ];
  for (const [urlTemplate, url] of urls) {
    it(`builds ${url} from ${urlTemplate}`, () => {
      const redirect = JSON.parse(renderRedirect({ ...INPUT, urlTemplate, protected: true }));
      expect(redirect).to.include({ url, protected: true });
    });
  }
});
