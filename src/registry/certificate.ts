/** The certificate of the endpoint: read at the start, and again whenever its files change. */
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
   * The pair, if it is new and whole: while one file is replaced before the other they do not fit.
   * @throws what is wrong with it, once for each change
   */
  async readIfChanged(): Promise<Certificate | undefined> {
    return (await this.#versionNow()) === this.#version ? undefined : this.read();
  }

  /** The pair as it is now. @throws what is wrong with it */
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
    // OpenSSL takes a certificate and a key of different kinds (RSA, EC) without a word.
    if (new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key))) return;
  } catch (cause) {
    const { message } = cause as Error;
    throw new DropdockError('settings.invalid', `${path} or its key: ${message}`, { path }, cause);
  }
  throw new DropdockError('settings.invalid', `The key does not belong to ${path}.`, { path });
}
