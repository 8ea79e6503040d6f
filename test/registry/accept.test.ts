/** A client receives a form that it accepts, an image if it does not support lists, or the original. */
import { expect } from 'chai';
import type { ManifestKind } from '#src/image/media-types.js';
import { chooseForm, parseAccept } from '#src/registry/accept.js';

const OCI = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';
const LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
const SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
const SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';

/** The first choice, `amd64` said where it is a list's image. */
function choice(forms: ManifestKind[], accept: string | undefined): string {
  const [first] = chooseForm(forms, parseAccept(accept));
  if (first === undefined) return 'none';
  return first.how === 'itself' ? first.kind : `amd64 of ${first.kind}`;
}

describe('parseAccept', () => {
  it('reads types in any case, with parameters and spaces, and omits types with q=0', () => {
    const types = (text: string | undefined) => [...parseAccept(text)];
    expect(types(undefined)).to.deep.equal([]);
    expect(types('')).to.deep.equal([]);
    expect(types(' , ,')).to.deep.equal([]);
    expect(types(`${OCI.toUpperCase()} ;q=0.5 , ${DOCKER};charset=utf-8`)).to.deep.equal([
      OCI,
      DOCKER,
    ]);
    for (const zero of ['q=0', 'Q=0', 'q=0.0', 'q=0.000', 'q=0.']) {
      expect(types(`${OCI};${zero},${INDEX}`), zero).to.deep.equal([INDEX]);
    }
    expect(types(`${OCI};q=0.001`)).to.deep.equal([OCI]);
  });
});

describe('chooseForm', () => {
  it('returns an image in the accepted form, OCI before Docker', () => {
    const forms: ManifestKind[] = ['oci', '2'];
    expect(choice(forms, OCI)).to.equal('oci');
    expect(choice(forms, DOCKER)).to.equal('2');
    expect(choice(forms, `${DOCKER}, ${OCI}`)).to.equal('oci');
    expect(choice(forms, `${DOCKER}, ${OCI};q=0`)).to.equal('2');
    expect(choice(forms, `${DOCKER}, */*;q=0.1`)).to.equal('2');
  });

  it('returns a list in the accepted form, and the list rather than its image', () => {
    const forms: ManifestKind[] = ['oci-index', 'list'];
    const all = [OCI, INDEX, DOCKER, LIST].join(',');
    expect(choice(forms, all)).to.equal('oci-index');
    expect(choice(forms, `${LIST}, ${DOCKER}`)).to.equal('list');
    expect(choice(forms, `${LIST}, ${OCI}`)).to.equal('list');
    expect(choice(forms, `${INDEX}`)).to.equal('oci-index');
  });

  it('returns the amd64 image, in the accepted form, to clients without list support', () => {
    const forms: ManifestKind[] = ['oci-index', 'list'];
    expect(choice(forms, OCI)).to.equal('amd64 of oci-index');
    expect(choice(forms, DOCKER)).to.equal('amd64 of list');
    expect(choice(['list'], DOCKER)).to.equal('amd64 of list');
    expect(choice(forms, `${DOCKER}, ${LIST};q=0`)).to.equal('amd64 of list');
    // If there is none, the next best is what is stored.
    const choices = chooseForm(forms, parseAccept(DOCKER));
    expect(choices.at(-1)).to.deep.equal({ kind: 'oci-index', how: 'itself' });
  });

  it('returns the stored form to clients that accept none of the forms', () => {
    const accepts = [undefined, '', '*/*', 'application/*', 'text/html', SCHEMA1];
    for (const accept of accepts) {
      expect(choice(['oci', '2'], accept), accept).to.equal('oci');
      expect(choice(['oci-index', 'list'], accept), accept).to.equal('oci-index');
      expect(choice(['2'], accept), accept).to.equal('2');
      expect(choice(['list'], accept), accept).to.equal('list');
    }
    expect(choice(['oci'], DOCKER)).to.equal('oci');
    expect(choice([], OCI)).to.equal('none');
  });

  it('returns schema 1 to clients that accept one of its types or nothing better', () => {
    expect(choice(['1'], SIGNED)).to.equal('1');
    expect(choice(['1'], SCHEMA1)).to.equal('1');
    expect(choice(['1'], OCI)).to.equal('1');
    expect(choice(['2', '1'], `${SIGNED}, ${DOCKER}`)).to.equal('2');
    expect(choice(['2', '1'], SIGNED)).to.equal('1');
  });
});
