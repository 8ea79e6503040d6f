/** Docker schema 1, as registries served it before 2016, signed or not. */

export interface Schema1 {
  /** The manifest as it is stored and served. */
  readonly text: string;
  /** What its digest is taken of: the text without its signatures. */
  readonly payload: string;
}

export function makeSchema1(layers: readonly string[], { signed }: { signed: boolean }): Schema1 {
  const payload = JSON.stringify(
    {
      schemaVersion: 1,
      name: 'team/old',
      tag: '1',
      architecture: 'amd64',
      fsLayers: layers.map((digest) => ({ blobSum: digest })),
      history: layers.map(() => ({ v1Compatibility: '{}' })),
    },
    undefined,
    3,
  );
  if (!signed) return { text: payload, payload };
  const formatLength = payload.length - 2;
  const header = { formatLength, formatTail: Buffer.from('\n}').toString('base64url') };
  const signature = {
    header: { alg: 'ES256' },
    signature: 'x',
    protected: Buffer.from(JSON.stringify(header)).toString('base64url'),
  };
  const signatures = JSON.stringify([signature]);
  const text = `${payload.slice(0, formatLength)},\n   "signatures": ${signatures}\n}`;
  return { text, payload };
}
