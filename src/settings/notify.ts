/** One entry of `notify`: who is told, and of what. docs/notify.md says more. */
import { z } from 'zod';
import { pause } from './duration.js';

/** What somebody can be told of. */
const NOTICE_EVENTS = ['published', 'rejected', 'rolled-back', 'untagged', 'removed'] as const;

export const notification = z
  .strictObject({
    on: z
      .array(z.enum(NOTICE_EVENTS))
      .min(1)
      .default([...NOTICE_EVENTS]),
    /** Patterns, as in `repositories`. */
    repositories: z.array(z.string().min(1)).min(1).default(['**']),
    /** A program and its arguments; no shell reads them. */
    run: z.array(z.string()).min(1).optional(),
    post: z.url({ protocol: /^https?$/, error: 'expected an http or https URL' }).optional(),
    secretFile: z.string().min(1).optional(),
    timeout: pause.prefault('30s'),
  })
  .refine(({ run, post }) => (run === undefined) !== (post === undefined), {
    error: 'expected either run: [program, …] or post: URL',
  })
  .refine(({ post, secretFile }) => secretFile === undefined || post !== undefined, {
    error: 'secretFile signs what is posted; it goes with post',
  });
