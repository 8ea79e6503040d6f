/** The parts of the program without its process: settings for tests, and a disk chosen by the test. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Daemon, startDaemon } from '#src/daemon/daemon.js';
import { openServices, type Services } from '#src/daemon/services.js';
import type { Log, LogFields } from '#src/log.js';
import { CurrentSettings } from '#src/settings/reload.js';
import type { Settings } from '#src/settings/schema.js';
import { loadSettings } from '#src/settings/settings.js';
import type { Disk } from '#src/storage/disk.js';

export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly fields: LogFields;
}

export interface TestServices extends Services {
  readonly lines: readonly LogLine[];
  /** As a reload would: they get these, where they may change while it runs. */
  readonly reload: (change: Partial<Settings>) => void;
}

/** @param yaml settings on top of ones that make a test quick */
export async function testServices(
  root: string,
  { disk, yaml = '' }: { disk?: Disk; yaml?: string } = {},
): Promise<TestServices> {
  const quick = 'settle: {quiet: 50ms, timeout: 2s}\nretry: {first: 20ms, most: 100ms}\n';
  const { settings } = loadSettings({
    file: { name: 'test.yaml', text: yaml || quick },
    environment: {},
    flags: ['inbox', 'published', 'state'].map((part) => ({
      path: ['paths', part],
      value: join(root, part),
      flag: 'test',
    })),
  });
  const lines: LogLine[] = [];
  const log: Log = (level, event, fields = {}) => {
    lines.push({ level, event, fields });
  };
  const current = new CurrentSettings(settings);
  const services = await openServices(current.now, log, disk && handsOf(disk));
  const reload = (change: Partial<Settings>) => {
    current.adopt({ ...current.now(), ...change });
  };
  return Object.assign(services, { lines, reload });
}

/** Both clocks go by this from now on: as if so much time had passed. */
export function setClock(services: Services, nowMs: () => number): void {
  Object.assign(services, { nowMs, clock: () => ({ id: 'test', ms: nowMs() }) });
}

/** So much time passes at once, on both clocks. */
export function passTime(services: Services, ms: number): void {
  const { nowMs, clock } = services;
  const later = () => ({ id: clock().id, ms: clock().ms + ms });
  Object.assign(services, { nowMs: () => nowMs() + ms, clock: later });
}

/** Runs jobs in this thread, with values copied as they would be on their way to another. */
export function handsOf(disk: Disk): Parameters<typeof openServices>[2] & object {
  return {
    run: async (job, request) =>
      structuredClone(await job(disk, structuredClone(request))) as never,
    close: async () => {},
  };
}

export async function testDaemon(
  root: string,
  options: { disk?: Disk; yaml?: string } = {},
): Promise<{ daemon: Daemon; services: TestServices; stop: () => Promise<void> }> {
  mkdirSync(root, { recursive: true });
  const services = await testServices(root, options);
  const daemon = await startDaemon(services);
  return {
    daemon,
    services,
    stop: async () => {
      await daemon.stop();
      await services.close();
    },
  };
}

export interface Receipt {
  readonly status: 'published' | 'unchanged' | 'rejected';
  readonly drop: string;
  readonly by?: string | null;
  readonly repository: string | null;
  readonly snapshot?: string;
  readonly code?: string;
  readonly message?: string;
  readonly path?: string | null;
  readonly digest?: string | null;
  readonly tags?: { tag: string; from: string | null; to: string }[];
  readonly leftOut?: { what: string; why: string }[];
  readonly warnings?: string[];
  readonly left?: string;
  readonly ingested?: Record<string, number>;
}

/** All receipts, oldest first. */
export function receipts(root: string): Receipt[] {
  const directory = join(root, 'inbox', '.receipts');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.json'))
    .sort((a, b) => (a.slice(-25) < b.slice(-25) ? -1 : 1))
    .map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as Receipt);
}
