/** The registry endpoint in this process, on a tree created by real publishes. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Gate } from '#src/auth/gate.js';
import { KeyRing } from '#src/auth/key-ring.js';
import { Tokens } from '#src/auth/tokens.js';
import { blobsBy } from '#src/daemon/targets.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { Endpoint } from '#src/registry/endpoint.js';
import { type Listen, RegistryServer, type Sent } from '#src/registry/server.js';
import { nodeDisk } from '#src/storage/disk.js';
import { tokenKeysPath } from '#src/storage/tree-paths.js';
import { DirectorySource } from '#src/targets/directory/directory-source.js';
import { ObjectSource, type ObjectSourceOptions } from '#src/targets/object-store/object-source.js';
import type { DaemonView } from '#src/web/daemon-view.js';
import { Page } from '#src/web/page.js';
import { type Asked, ask, type Reply } from './ask.js';
import { deliver, dropPath } from './deliver.js';
import type { TestContent, TestDescriptor } from './make-image.js';
import { MemoryStore } from './memory-store.js';
import { mirror } from './mirror.js';
import { type TestServices, testServices } from './service.js';

/** What the endpoint reads: the tree itself, or the same put into a store of objects. */
export type Over = 'a directory' | 'an object store';

let over: Over = 'a directory';

/** The same behaviours over each of them: what `TestRegistry.open` opens inside reads that one. */
export function describeOver(name: string, body: (over: Over) => void): void {
  for (const each of ['a directory', 'an object store'] as const) {
    describe(`${name}, over ${each}`, () => {
      before(() => {
        over = each;
      });
      body(each);
      after(() => {
        over = 'a directory';
      });
    });
  }
}

export interface RegistryOptions {
  /** The endpoint reads a store, this one, so and so. */
  readonly objects?: MemoryStore;
  readonly objectOptions?: Partial<ObjectSourceOptions>;
  readonly yaml?: string;
  readonly connections?: number;
  readonly idleMs?: number;
  /** With the page, and what it is told of the inbox. */
  readonly page?: { readonly daemon?: DaemonView };
  /** The wall clock by which tokens are made and judged. */
  readonly clockMs?: () => number;
  readonly listen?: Listen;
}

export class TestRegistry {
  readonly refused: string[] = [];
  readonly errors: Error[] = [];
  readonly sent: Sent[] = [];

  private constructor(
    readonly root: string,
    readonly services: TestServices,
    readonly gate: Gate,
    readonly server: RegistryServer,
    readonly page: Page | undefined,
    readonly objects: MemoryStore | undefined,
  ) {}

  /** Listens on any port. The inbox is there, and nothing is taken from it but by `drop`. */
  static async open(root: string, options: RegistryOptions = {}): Promise<TestRegistry> {
    mkdirSync(root, { recursive: true });
    const { yaml = '', connections = 100, idleMs = 10_000, clockMs = Date.now } = options;
    const services = await testServices(root, { disk: nodeDisk, yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
    const { settings, roots, run } = services;
    const objects = options.objects ?? (over === 'an object store' ? new MemoryStore() : undefined);
    const source = objects
      ? objectSource(objects, options.objectOptions)
      : new DirectorySource({ roots, run, rememberBytes: 64 * 1024 * 1024 });
    const { htpasswd } = settings.registry;
    const gate = new Gate({
      htpasswd: htpasswd ?? undefined,
      run,
      nowMs: () => performance.now(),
      onRead: () => {},
    });
    const keys = new KeyRing({
      path: settings.registry.tokenKey ?? tokenKeysPath(roots),
      makes: settings.registry.tokenKey === null,
      run,
      nowMs: () => performance.now(),
      clockMs,
      onChange: () => {},
    });
    const lifetimeMs = () => settings.registry.tokenFor;
    const tokens = htpasswd === null ? undefined : new Tokens({ gate, keys, lifetimeMs, clockMs });
    const onRefused = (user: string) => void registry.refused.push(user);
    const page =
      options.page &&
      new Page({
        settings,
        source,
        daemon: options.page.daemon,
        identify: (authorization) => gate.identify(authorization),
        nowMs: () => Date.now(),
        monotonicMs: () => performance.now(),
        version: '1.2.3',
        onError: (error) => void registry.errors.push(error),
      });
    const given = { source, settings, gate, tokens, page, onRefused };
    const endpoint = new Endpoint({ ...given, blobsBy: blobsBy(settings) });
    const server = new RegistryServer({
      answer: (request) => endpoint.answer(request),
      certificate: undefined,
      connections,
      idleMs,
      onSent: (sent) => void registry.sent.push(sent),
      onError: (error) => void registry.errors.push(error),
    });
    const registry = new TestRegistry(root, services, gate, server, page, objects);
    await server.listen(options.listen ?? { host: '127.0.0.1', port: 0 });
    return registry;
  }

  /** Publishes an OCI layout with these images, as the daemon would. */
  async drop(
    name: string,
    content: TestContent,
    roots: readonly { image: TestDescriptor; tag?: string }[],
  ): Promise<void> {
    content.writeLayout(dropPath(this.root, name), roots);
    await this.take(name);
  }

  /** Publishes what lies in the inbox under this name. */
  async take(name: string): Promise<void> {
    const outcome = await deliver(this.services, name);
    this.mirror();
    if (outcome?.status === 'published') return;
    throw outcome?.status === 'rejected' ? outcome.error : new Error(`${name}: ${outcome?.status}`);
  }

  /** Brings the store, where there is one, to what the tree publishes. */
  mirror(): void {
    if (this.objects) mirror(join(this.root, 'published'), this.objects);
  }

  ask(path: string, asked: Asked = {}): Promise<Reply> {
    this.mirror();
    return ask(this.server.url, path, asked);
  }

  get(path: string, headers: Asked['headers'] = {}): Promise<Reply> {
    return this.ask(path, { headers });
  }

  head(path: string, headers: Asked['headers'] = {}): Promise<Reply> {
    return this.ask(path, { headers, method: 'HEAD' });
  }

  /** A path below the current snapshot. */
  web(id: string, ...path: string[]): string {
    return join(this.root, 'published', 'web', id, ...path);
  }

  async close(): Promise<void> {
    this.page?.close();
    await this.server.close(0);
    await this.services.close();
  }
}

/** Every request asks the store which snapshot is current. */
function objectSource(
  objects: MemoryStore,
  options: Partial<ObjectSourceOptions> = {},
): ObjectSource {
  return new ObjectSource({
    store: objects,
    blobs: objects,
    signedSeconds: 600,
    pointerAgeMs: 0,
    staleMs: 0,
    monotonicMs: () => performance.now(),
    onAway: () => {},
    ...options,
  });
}

/** All headers but those that differ from one moment to the next. */
export function steadyHeaders({ headers }: Reply): Record<string, unknown> {
  const { date: _date, ...rest } = headers;
  return rest;
}
