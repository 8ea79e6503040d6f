/** Reads credentials from a file, again from time to time, so that they can be rotated without a restart. */

import { DropdockError } from '../../errors.js';
import { readConfigured } from '../../storage/serving.js';

const READ_AGAIN_MS = 5 * 60_000;

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** The SDK then asks again. */
  readonly expiration: Date;
}

export function credentialsFrom(path: string): () => Promise<Credentials> {
  return async () => {
    const text = (await readFile(path)).toString('utf8');
    const fields = parseCredentials(text);
    const { accessKeyId, secretAccessKey, sessionToken } = fields;
    if (accessKeyId === undefined || secretAccessKey === undefined) {
      // The message must not contain the text of the file.
      throw new DropdockError('target.failed', `No credentials in the file ${path}.`, { path });
    }
    const expiration = new Date(Date.now() + READ_AGAIN_MS);
    return {
      accessKeyId,
      secretAccessKey,
      ...(sessionToken !== undefined && { sessionToken }),
      expiration,
    };
  };
}

async function readFile(path: string): Promise<Buffer> {
  try {
    return await readConfigured(path);
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code;
    throw new DropdockError(
      'target.failed',
      `The credentials in ${path} cannot be read (${why}).`,
      {
        path,
      },
    );
  }
}

type Fields = Readonly<Record<string, string | undefined>>;

const INI_NAMES: Fields = {
  aws_access_key_id: 'accessKeyId',
  aws_secret_access_key: 'secretAccessKey',
  aws_session_token: 'sessionToken',
};

/** Parses the file of the AWS tools (its first profile), or JSON with the names of the SDK. */
export function parseCredentials(text: string): Fields {
  if (text.trimStart().startsWith('{')) {
    try {
      return JSON.parse(text) as Fields;
    } catch {
      return {};
    }
  }
  const fields: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^\s*([a-z_]+)\s*=\s*(\S+)\s*$/.exec(line) ?? [];
    const field = INI_NAMES[name];
    if (field !== undefined) fields[field] ??= value;
  }
  return fields;
}
