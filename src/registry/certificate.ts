/** The TLS certificate of the endpoint: read at startup, and again whenever its files change. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { DropdockError } from '../errors.js';
import { fileVersion, readConfigured } from '../storage/serving.js';

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
   * Returns the pair if it has changed and is valid. While only one of the two files is replaced, they do not
   * match.
   * @throws settings.invalid, once for each change
   */
  async readIfChanged(): Promise<Certificate | undefined> {
    return (await this.#versionNow()) === this.#version ? undefined : this.read();
  }

  /** Returns the current pair. @throws settings.invalid */
  async read(): Promise<Certificate> {
    this.#version = await this.#versionNow();
    const { certificate, key } = this.files;
    const pair = { cert: await readConfigured(certificate), key: await readConfigured(key) };
    check(pair, certificate);
    return pair;
  }

  async #versionNow(): Promise<string> {
    const { certificate, key } = this.files;
    return (await Promise.all([fileVersion(certificate), fileVersion(key)])).join(' ');
  }
}

/** @throws settings.invalid */
function check(pair: Certificate, path: string): void {
  try {
    createSecureContext(pair);
    // OpenSSL accepts a certificate and a key of different types (RSA, EC) without an error.
    if (new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key))) return;
  } catch (cause) {
    const { message } = cause as Error;
    throw new DropdockError(
      'settings.invalid',
      `cannot use the certificate ${path} and its key: ${message}`,
      { path },
      cause,
    );
  }
  throw new DropdockError('settings.invalid', `The key does not match the certificate ${path}.`, {
    path,
  });
}
