/** One entry of `notify`: who is told, and of what. docs/notify.md says more. */
import * as v from 'valibot';
import { pause } from './duration.js';
import { filled, HTTP, some, url } from './shapes.js';

/** What somebody can be told of. */
const NOTICE_EVENTS = ['published', 'rejected', 'rolled-back', 'untagged', 'removed'] as const;

export const notification = v.pipe(
  v.strictObject({
    on: v.optional(some(v.picklist(NOTICE_EVENTS)), [...NOTICE_EVENTS]),
    /** Patterns, as in `repositories`. */
    repositories: v.optional(some(filled), ['**']),
    /** A program and its arguments; no shell reads them. */
    run: v.optional(some(v.string())),
    post: v.optional(url(HTTP, 'expected an http or https URL')),
    secretFile: v.optional(filled),
    timeout: v.optional(pause, '30s'),
  }),
  v.check(
    ({ run, post }) => (run === undefined) !== (post === undefined),
    'expected either run: [program, …] or post: URL',
  ),
  v.check(
    ({ post, secretFile }) => secretFile === undefined || post !== undefined,
    'secretFile signs what is posted; it goes with post',
  ),
);
