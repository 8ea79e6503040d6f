/** The certificate of the endpoint: read at the start, and again whenever its files change. */
import { createSecureContext } from 'node:tls';
import { fileVersion, readConfigured } from '../disk/serving.js';

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class CertificateWatch {
  #version = '';

  constructor(readonly files: CertificateFiles) {}

  /**
   * The pair, if it is new and whole: while one file is replaced before the other they do not fit.
   * @throws what is wrong with it, once for each change
   */
  async readIfChanged(): Promise<Certificate | undefined> {
    const { certificate, key } = this.files;
    const versions = await Promise.all([fileVersion(certificate), fileVersion(key)]);
    const version = versions.join(' ');
    if (version === this.#version) return undefined;
    this.#version = version;
    const pair = { cert: await readConfigured(certificate), key: await readConfigured(key) };
    createSecureContext(pair);
    return pair;
  }
}
