/** Self-signed certificates for 127.0.0.1, created by openssl; no test contains a key. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { tool } from './tools.js';

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

/** @param name the certificate's subject, by which a test tells one from another */
export async function makeCertificate(directory: string, name: string): Promise<CertificateFiles> {
  const files = {
    certificate: join(directory, `${name}.pem`),
    key: join(directory, `${name}.key`),
  };
  const given = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
  const out = ['-nodes', '-keyout', files.key, '-out', files.certificate, '-days', '2'];
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  await tool('openssl', ...given, ...out, ...names);
  return files;
}

export function trusting({ certificate }: CertificateFiles): { ca: Buffer } {
  return { ca: readFileSync(certificate) };
}
