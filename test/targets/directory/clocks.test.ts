/**
 * I9 with any clock: content that was current stays available by digest until the grace period has really
 * passed, and not forever afterwards. Method: random histories of publishes, manual changes and cleanings
 * by two hosts that restart now and then, while the wall clock is set back, set forward and corrected;
 * real elapsed time is simulated by the test.
 */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cleanAll } from '#src/daemon/upkeep.js';
import { prepareInbox } from '#src/inbox/claim.js';
import { nodeDisk } from '#src/storage/disk.js';
import type { Job } from '#src/storage/job.js';
import { flipTo } from '#src/targets/directory/flip.js';
import { deliver, dropPath } from '../../support/deliver.js';
import { editRepository } from '../../support/edit-repository.js';
import { makeLayout } from '../../support/make-image.js';
import { makeRandom } from '../../support/random.js';
import { type TestServices, testServices } from '../../support/service.js';
import { removeTempDirs, tempDir } from '../../support/temp-dir.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const GRACE = HOUR;
const HISTORIES = Number(process.env.DROPDOCK_TEST_HISTORIES ?? 12);
const STEPS = 14;

/** A kernel: its clock counts from when it was started, and is known by its boot. */
interface Host {
  boot: string;
  startedMs: number;
  /** How far its wall clock is from the truth. */
  offMs: number;
}

class World {
  readonly root = tempDir();
  /** The time that really passed. */
  realMs = Date.now();
  /** When what a reader could find was current last, by its path below master/ or its digest. */
  readonly lastServedMs = new Map<string, number>();
  readonly hosts: readonly Host[];
  services!: TestServices;
  host: Host;
  log: string[] = [];
  #boots = 0;
  /** What passes before the next flip, after its snapshot was built. */
  pausedMs = 0;

  constructor(readonly random: () => number) {
    this.hosts = [this.#started({} as Host), this.#started({} as Host)];
    this.host = this.hosts[0] as Host;
  }

  async open(): Promise<this> {
    const yaml = 'retention: {grace: 1h, keep: 1}\n';
    this.services = await testServices(this.root, { disk: nodeDisk, yaml });
    const { run } = this.services;
    Object.assign(this.services, {
      nowMs: () => this.realMs + this.host.offMs,
      clock: () => ({ id: this.host.boot, ms: this.realMs - this.host.startedMs }),
      run: async (job: Job<unknown, unknown>, request: unknown) => {
        if (job !== flipTo) return run(job, request);
        this.realMs += this.pausedMs;
        this.pausedMs = 0;
        // Up to the flip a reader finds what was current before.
        this.#remember();
        return run(job, request);
      },
    });
    await this.services.run(prepareInbox, { inbox: this.services.inbox });
    return this;
  }

  pick(count: number): number {
    return Math.floor(this.random() * count);
  }

  #started(host: Host): Host {
    this.#boots++;
    // Another host's clock may be far ahead of this one's.
    return Object.assign(host, {
      boot: `boot ${this.#boots}`,
      startedMs: this.realMs - this.pick(100) * HOUR,
      offMs: host.offMs ?? 0,
    });
  }

  /** Time passes, clocks are set, hosts start anew. */
  between(): void {
    this.realMs += this.pick(3) === 0 ? this.pick(90) * MINUTE : this.pick(5 * MINUTE);
    this.host = this.hosts[this.pick(2)] as Host;
    const kind = this.pick(8);
    if (kind === 0) this.host.offMs = -this.pick(100) * HOUR;
    if (kind === 1) this.host.offMs = this.pick(100) * HOUR;
    if (kind <= 3 && kind > 1) this.host.offMs = 0;
    if (kind === 4) this.#started(this.host);
    if (kind === 5) this.pausedMs = this.pick(50) * MINUTE;
    this.#say(`boot ${this.host.boot} off ${this.host.offMs / HOUR} h`);
  }

  async act(): Promise<void> {
    const kind = this.#current() === undefined ? 0 : this.pick(7);
    const [what] = [['publish', 'publish', 'untag', 'rollback', 'clean', 'clean', 'clean'][kind]];
    this.#remember();
    try {
      if (what === 'publish') await this.publish();
      else if (what === 'clean') await cleanAll(this.services);
      else await this.#edit(what as 'untag' | 'rollback');
    } catch (error) {
      // Nothing to go back to, no such tag.
      if (!/\.unknown$/.test((error as { code: string }).code ?? '')) throw error;
    }
    this.#say(String(what));
    this.check();
    this.#remember();
  }

  async publish(): Promise<void> {
    const tag = String(this.pick(3));
    makeLayout(dropPath(this.root, `app:${tag}`), { layers: ['base', `layer ${this.pick(6)}`] });
    await deliver(this.services, `app:${tag}`);
  }

  async #edit(kind: 'untag' | 'rollback'): Promise<void> {
    const edit =
      kind === 'untag'
        ? ({ kind, tags: [String(this.pick(3))] } as const)
        : ({ kind, to: undefined } as const);
    await editRepository(this.services, 'app', edit);
  }

  #web(): string {
    return join(this.root, 'published/web/app');
  }

  #current(): string | undefined {
    return existsSync(this.#web()) ? readlinkSync(this.#web()).split('/').at(-1) : undefined;
  }

  /** What a client that begins now may ask for until the grace period is over. */
  #remember(): void {
    const current = this.#current();
    if (current === undefined) return;
    const tags = join(this.#web(), 'manifests/oci');
    const isTag = (name: string) => !name.startsWith('sha256:');
    this.lastServedMs.set(current, this.realMs);
    for (const name of existsSync(tags) ? readdirSync(tags).filter(isTag) : []) {
      this.lastServedMs.set(this.#digestOf(join(tags, name)), this.realMs);
    }
  }

  #digestOf(path: string): string {
    return `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`;
  }

  /** Throws when something is gone that was current within the grace period. */
  check(): void {
    for (const [name, lastMs] of this.lastServedMs) {
      const leftMs = lastMs + GRACE - this.realMs;
      if (leftMs <= 0 || this.isThere(name)) continue;
      throw new Error(`${name} is gone ${leftMs / MINUTE} min early:\n${this.log.join('\n')}`);
    }
  }

  isThere(name: string): boolean {
    if (!name.startsWith('sha256:')) {
      return existsSync(join(this.root, 'published/master/app', name));
    }
    const path = join(this.#web(), 'manifests/oci', name);
    if (!existsSync(path)) return false;
    const { layers } = JSON.parse(readFileSync(path, 'utf8'));
    return layers.every(({ digest }: { digest: string }) =>
      existsSync(join(this.#web(), 'blobs', digest)),
    );
  }

  #say(what: string): void {
    this.log.push(`${((this.realMs - Date.now()) / MINUTE).toFixed(1)} min: ${what}`);
  }
}

describe('the grace period', () => {
  const seed = Number(process.env.DROPDOCK_TEST_SEED ?? Date.now() % 1_000_000_000);
  afterEach(removeTempDirs);

  it(`is never shortened by a clock change (seed ${seed})`, async () => {
    for (let n = 0; n < HISTORIES; n++) {
      const world = await new World(makeRandom(seed + n)).open();
      try {
        for (let step = 0; step < STEPS; step++) {
          world.between();
          await world.act();
        }
      } catch (error) {
        throw new Error(`seed ${seed + n}: ${(error as Error).message}`, { cause: error });
      } finally {
        await world.services.close();
      }
      removeTempDirs();
    }
  }).timeout(HISTORIES * 20_000);

  it(`ends, whatever times clocks showed before (seed ${seed})`, async () => {
    const world = await new World(makeRandom(seed)).open();
    for (let step = 0; step < STEPS; step++) {
      world.between();
      await world.act();
    }
    // Cleanings every 10 minutes by one host; what is carried makes one more snapshot, which has its time.
    for (let n = 0; n < 3 * 6 + 3; n++) {
      world.realMs += 10 * MINUTE;
      await cleanAll(world.services);
    }
    const left = readdirSync(join(world.root, 'published/master/app'));
    expect(left).to.have.length(1);
    const served = [...world.lastServedMs].filter(([name]) => world.isThere(name));
    const current = served.filter(([name]) => !name.startsWith('sha256:'));
    expect(current).to.have.length.at.most(1);
    await world.services.close();
  });
});
