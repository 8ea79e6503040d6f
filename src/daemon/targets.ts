/** Opens the targets of the settings and the endpoint's source: the only file that knows all kinds. */
import { DropdockError, faultOf } from '../errors.js';
import type { RepositoryId } from '../image/names.js';
import type { HealthOptions } from '../metrics/health.js';
import type { Target } from '../publisher/target.js';
import type { BlobsBy } from '../registry/blobs.js';
import type { SnapshotText } from '../repository/snapshot-file.js';
import { type ResolvedRepository, resolveRepositoryById } from '../settings/repository-policy.js';
import type { Settings } from '../settings/schema.js';
import {
  allTargets,
  elsewhereOf,
  LOCAL_TARGET,
  type TargetSettings,
} from '../settings/target-settings.js';
import { directoryKind } from '../targets/directory/directory-kind.js';
import { rememberElsewhere } from '../targets/directory/published-elsewhere.js';
import { Budget } from '../targets/memory-budget.js';
import { objectStoreKind } from '../targets/object-store/object-store-kind.js';
import type {
  FlipObserver,
  OpenSource,
  OpenTarget,
  SourceOptions,
  TargetContext,
  TargetKind,
  TargetServices,
} from '../targets/target-kind.js';

type OfType<Type> = Extract<TargetSettings, { readonly type: Type }>;

/** The kinds of targets, by the `type` of their settings. */
const KINDS: { readonly [Type in TargetSettings['type']]: TargetKind<OfType<Type>> } = {
  directory: directoryKind,
  s3: objectStoreKind,
};

/** Limit for bytes in memory during uploads to all targets together. */
const BUDGET_BYTES = 128 * 1024 * 1024;

export class Targets {
  readonly #settings: () => Settings;
  readonly #services: TargetServices;
  readonly #context: TargetContext;
  readonly #opened = new Map<string, OpenTarget>();
  /** Names of the snapshots that are remembered, by target and id. */
  readonly #remembered = new Map<string, SnapshotText['snapshot']>();

  /** Targets are opened at first use. */
  constructor(settings: () => Settings, services: TargetServices, observer?: FlipObserver) {
    this.#settings = settings;
    this.#services = services;
    const onPublished = this.#remember.bind(this);
    this.#context = { settings, services, observer, budget: new Budget(BUDGET_BYTES), onPublished };
  }

  /** The names of all targets; the directory first. */
  get names(): string[] {
    return Object.keys(allTargets(this.#settings()));
  }

  /** The published tree of this host. */
  get local(): Target {
    return this.get(LOCAL_TARGET);
  }

  /** @throws usage.invalid for an unknown name */
  readonly get = (name: string): Target => {
    const opened = this.#opened.get(name) ?? this.#open(name);
    this.#opened.set(name, opened);
    return opened.target;
  };

  #open(name: string): OpenTarget {
    const own = targetSettings(this.#settings(), name);
    return kindOf(own).openTarget(name, own, this.#context);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#opened.values()].map((each) => each.close()));
  }

  /**
   * Updates the remembered snapshots of a repository that is not published to the directory: other hosts may
   * have published to its targets. For an unreachable target the last known snapshot is used.
   */
  readonly lookAgain = async (policy: ResolvedRepository): Promise<void> => {
    for (const target of elsewhereOf(policy) ?? []) {
      try {
        const current = await this.get(target).currentText(policy.id);
        if (current) await this.#remember(target, policy.id, current);
      } catch (error) {
        if (faultOf(error) === 'bug') throw error;
      }
    }
  };

  /** Remembers the current snapshot, for thin drops to a repository that is not in the directory. */
  async #remember(target: string, id: RepositoryId, current: SnapshotText): Promise<void> {
    const { run, roots } = this.#services;
    const key = `${target}/${id}`;
    if (this.#remembered.get(key) === current.snapshot) return;
    if (elsewhereOf(resolveRepositoryById(this.#settings(), id)) === undefined) return;
    await run(rememberElsewhere, { roots, target, id, text: current.text });
    this.#remembered.set(key, current.snapshot);
  }
}

/** Opens the source that the endpoint serves, as set by `registry.target`. */
export function openSource(options: SourceOptions): Promise<OpenSource> {
  const { settings } = options;
  const { target } = settings.registry;
  const own = targetSettings(settings, target);
  return kindOf(own).openSource(target, own, options);
}

/** Returns how the endpoint answers requests for blobs. */
export function blobsBy(settings: Settings): BlobsBy {
  const { target, blobs, blobsUrl, accelPrefix } = settings.registry;
  const own = targetSettings(settings, target);
  const place = kindOf(own).blobPlace(own);
  if (blobs === 'redirect' || (blobs === 'auto' && place)) {
    return { how: 'redirect', url: blobsUrl ?? place?.url };
  }
  return blobs === 'x-accel' ? { how: 'x-accel', prefix: accelPrefix } : { how: 'stream' };
}

/** Returns the paths that must be readable for `serve` to be ready. */
export function readPlaces(settings: Settings): HealthOptions['places'] {
  return kindOf(targetSettings(settings, settings.registry.target)).readPlaces(settings);
}

/** Checks a target's name. @returns the directory's name if it is undefined @throws usage.invalid */
export function targetNamed(settings: Settings, name: string | undefined): string {
  if (name === undefined) return LOCAL_TARGET;
  targetSettings(settings, name);
  return name;
}

/** @throws usage.invalid for an unknown name */
function targetSettings(settings: Settings, name: string): TargetSettings {
  const all = allTargets(settings);
  const own = Object.hasOwn(all, name) ? all[name] : undefined;
  if (own !== undefined) return own;
  const known = Object.keys(all).join(', ');
  throw new DropdockError('usage.invalid', `Unknown target "${name}"; known targets: ${known}.`);
}

function kindOf<Own extends TargetSettings>({ type }: Own): TargetKind<Own> {
  return KINDS[type] as TargetKind<TargetSettings>;
}
