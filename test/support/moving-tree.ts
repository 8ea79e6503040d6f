/**
 * A published tree that changes constantly: tags, types from image to index and back, tags that are added
 * and removed, repositories that are removed and restored. It records the value of each tag over time, so
 * that a test can check whether a response was correct at some instant of the request.
 */
import type { Digest } from '#src/image/digest.js';
import { prepareInbox } from '#src/inbox/claim.js';
import type { Edit } from '#src/publisher/target.js';
import { TestContent } from './make-image.js';
import { directoryHands, type MovingHands } from './moving-hands.js';
import { type TestServices, testServices } from './service.js';

interface Spell {
  /** The tag's digests: of the original and of its Docker forms; none while there is no such tag. */
  digests: readonly string[];
  readonly fromMs: number;
  untilMs: number;
}

export class MovingTree {
  readonly #spells = new Map<string, Spell[]>();
  #serial = 0;

  private constructor(
    readonly root: string,
    readonly services: TestServices,
    readonly repositories: readonly string[],
    readonly random: () => number,
    readonly hands: MovingHands,
  ) {}

  static async make(
    root: string,
    options: {
      repositories: readonly string[];
      random: () => number;
      yaml?: string;
      /** Into the directory, where it is left out. */
      hands?: (services: TestServices) => MovingHands;
    },
  ): Promise<MovingTree> {
    const yaml = options.yaml ?? 'retention: {keep: 1, grace: 10m}\n';
    // Real threads: pulls in this process must not wait for the publisher.
    const services = await testServices(root, { yaml });
    await services.run(prepareInbox, { inbox: services.inbox });
    const hands = options.hands?.(services) ?? directoryHands(root, services);
    const tree = new MovingTree(root, services, options.repositories, options.random, hands);
    for (const repository of options.repositories) await tree.#publish(repository, '1', 'image');
    return tree;
  }

  close(): Promise<void> {
    return this.services.close();
  }

  pick(): string {
    return this.repositories[Math.floor(this.random() * this.repositories.length)] ?? '';
  }

  /** One flip of one repository. @returns what it was */
  async flip(): Promise<string> {
    const repository = this.pick();
    const there = (tag: string) => (this.#now(repository, tag)?.digests.length ?? 0) > 0;
    const dice = this.random();
    if (dice < 0.08 && there('1')) return this.#edit(repository, { kind: 'remove' }, ['1', '2']);
    if (dice < 0.2 && there('2') && there('1')) {
      return this.#edit(repository, { kind: 'untag', tags: ['2'] }, ['2']);
    }
    const tag = dice < 0.4 ? '2' : '1';
    return this.#publish(repository, tag, this.random() < 0.5 ? 'image' : 'index');
  }

  /** What is wrong with this answer; undefined when it was the truth at some instant between. */
  judge(
    repository: string,
    tag: string,
    digest: string | undefined,
    [fromMs, untilMs]: readonly [number, number],
  ): string | undefined {
    const spells = this.#spells.get(`${repository}:${tag}`) ?? [];
    const possible = spells.filter((each) => each.fromMs <= untilMs && each.untilMs >= fromMs);
    const isRight = possible.some(({ digests }) =>
      digest === undefined ? digests.length === 0 : digests.includes(digest),
    );
    if (isRight || (digest === undefined && spells.length === 0)) return undefined;
    const known = spells.findIndex(({ digests }) => digest && digests.includes(digest));
    return `${repository}:${tag} was ${digest} (spell ${known} of ${spells.length})`;
  }

  #now(repository: string, tag: string): Spell | undefined {
    return this.#spells.get(`${repository}:${tag}`)?.at(-1);
  }

  async #publish(repository: string, tag: string, what: 'image' | 'index'): Promise<string> {
    const content = new TestContent();
    const mark = String(++this.#serial).padStart(6, '0');
    const image = (architecture: string) =>
      content.image({
        layers: ['shared', `${architecture} ${mark}`],
        ...(what === 'index' && { platform: { os: 'linux', architecture } }),
      });
    const root =
      what === 'index' ? content.index([image('amd64'), image('arm64')]) : image('amd64');
    await this.#move(repository, [tag], root.digest, () =>
      this.hands.publish(repository, tag, content, root),
    );
    return `${repository}:${tag} ${what}`;
  }

  async #edit(repository: string, edit: Edit, tags: readonly string[]): Promise<string> {
    await this.#move(repository, tags, undefined, () => this.hands.edit(repository, edit));
    return `${edit.kind} ${repository}`;
  }

  /** While it flips both the old and the new may be seen. */
  async #move(
    repository: string,
    tags: readonly string[],
    digest: string | undefined,
    work: () => Promise<unknown>,
  ): Promise<void> {
    const fromMs = performance.now();
    const open = tags.map((tag) => {
      const before = { digests: [], fromMs: Number.NEGATIVE_INFINITY, untilMs: fromMs };
      const spells = this.#spells.get(`${repository}:${tag}`) ?? [before];
      const next = {
        digests: digest === undefined ? [] : [digest],
        fromMs,
        untilMs: Number.POSITIVE_INFINITY,
      };
      this.#spells.set(`${repository}:${tag}`, [...spells, next]);
      return spells.at(-1);
    });
    await work();
    const untilMs = performance.now();
    for (const spell of open) if (spell) spell.untilMs = untilMs;
    const { state } = await this.hands.current(repository);
    const docker = digest && state.conversions.get(digest as Digest);
    for (const tag of tags) {
      const now = this.#now(repository, tag);
      if (now && digest && docker) now.digests = [digest, docker];
    }
  }
}
