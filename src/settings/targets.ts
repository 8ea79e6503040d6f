/** The shape of `targets`: where drops are published besides, or instead of, the directory. */
import { z } from 'zod';
import { duration, pause } from './duration.js';

/** The published tree below `paths`; it is always there. */
export const LOCAL_TARGET = 'local';

const endpoint = z
  .url({ protocol: /^https?$/, error: 'expected a URL such as https://s3.example.com' })
  .refine((text) => !URL.parse(text)?.username, 'credentials go into credentialsFile');

const store = z.strictObject({
  type: z.literal('s3'),
  /** Left out for AWS, which the region tells. */
  endpoint: endpoint.optional(),
  bucket: z.string().min(1),
  /** What all keys begin with; without a slash at either end. */
  prefix: z
    .string()
    .regex(/^(?:[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*)?$/, {
      error: 'expected path components of letters, digits and . _ ~ -',
    })
    .default(''),
  region: z.string().min(1).default('us-east-1'),
  /** `https://host/bucket/key`; what most stores but AWS want. */
  pathStyle: z.boolean().default(false),
  credentialsFile: z.string().startsWith('/').optional(),
  /** Run where the store knows no conditional writes; one publisher only may be. */
  singleWriter: z.boolean().default(false),
  /** Where readers find the keys, when that is not the endpoint: a CDN, a public bucket. */
  publicUrl: endpoint.optional(),
  /** The longest a publish may take; what is younger than a few of these is never cleaned. */
  longest: duration.refine((ms) => ms >= 1000, 'expected at least 1s').prefault('1h'),
  /** How often what nothing uses is looked for; all pointers are read for it. */
  clean: pause.prefault('1d'),
  /** The longest one request may take. */
  timeout: pause.prefault('60s'),
});
export type StoreSettings = z.infer<typeof store>;

const directory = z.strictObject({ type: z.literal('directory') });

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]*$/, { error: 'expected a name of lower-case letters and digits' });

export const targets = z
  .record(name, z.discriminatedUnion('type', [directory, store]))
  .superRefine((all, context) => {
    for (const [each, { type }] of Object.entries(all)) {
      if ((each === LOCAL_TARGET) === (type === 'directory')) continue;
      const message = `the directory is the target ${LOCAL_TARGET}, and no other`;
      context.addIssue({ code: 'custom', path: [each, 'type'], message });
    }
  })
  .prefault({});
