/** The shape of an entry of `notify`: the program or URL to notify, and the events. See docs/notify.md. */
import * as v from 'valibot';
import { pause } from './duration.js';
import { filled, HTTP, some, url } from './shapes.js';

/** The events that can be notified. */
const NOTICE_EVENTS = ['published', 'rejected', 'rolled-back', 'untagged', 'removed'] as const;

export const notification = v.pipe(
  v.strictObject({
    on: v.optional(some(v.picklist(NOTICE_EVENTS)), [...NOTICE_EVENTS]),
    /** Patterns, as in `repositories`. */
    repositories: v.optional(some(filled), ['**']),
    /** A program and its arguments, run without a shell. */
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
    'secretFile is only valid with post: it signs the request',
  ),
);
