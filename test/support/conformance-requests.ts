/**
 * The single table of distribution-spec v1.1 requirements for pulls and content discovery, as requests.
 * docs/registry.md has a row for each, in words; a test compares ids, endpoints and levels.
 */
import { type Asked, ask, type Reply } from './ask.js';
import { DISCOVERY } from './conformance-discovery.js';
import { ERRORS } from './conformance-errors.js';
import { PULL } from './conformance-pull.js';
import type { World } from './conformance-world.js';

export type Level = 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT' | 'MAY';

export interface Requirement {
  readonly id: string;
  /** The spec's name of the endpoint or code: `end-3`. */
  readonly end: string;
  readonly level: Level;
  /** Asks a registry that holds this world. @throws where the requirement is not met */
  readonly check: (registry: AskedRegistry, world: World) => Promise<void>;
  /** Why docker-registry 2.8 does not meet it; undefined where it does. */
  readonly docker?: string;
}

export class AskedRegistry {
  constructor(readonly url: string) {}

  get(path: string, headers: Asked['headers'] = {}): Promise<Reply> {
    return ask(this.url, path, { headers });
  }

  head(path: string, headers: Asked['headers'] = {}): Promise<Reply> {
    return ask(this.url, path, { headers, method: 'HEAD' });
  }

  send(method: string, path: string): Promise<Reply> {
    return ask(this.url, path, { method });
  }
}

export const REQUIREMENTS: readonly Requirement[] = [...PULL, ...ERRORS, ...DISCOVERY];
