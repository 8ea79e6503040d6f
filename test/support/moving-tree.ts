/**
 * A published tree in which everything moves: tags, types from image to index and back, tags that
 * come and go, repositories that are removed and come again. It knows what each tag was and when, so
 * that an answer can be judged: was this the truth at some instant of the request?
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { publishContext } from '#src/daemon/services.js';
import { parseRepositoryName } from '#src/image/names.js';
import { type Edit, editRepository } from '#src/publish/edit.js';
import { resolveRepository } from '#src/settings/repository-policy.js';
import { deliver, dropPath } from './deliver.js';
import { TestContent } from './make-image.js';
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
  ) {}

  static async make(
    root: string,
    options: { repositories: readonly string[]; random: () => number; yaml?: string },
  ): Promise<MovingTree> {
    const yaml = options.yaml ?? 'retention: {keep: 1, grace: 10m}\n';
    // Real threads: whoever pulls in this process must not wait for the publisher.
    const services = await testServices(root, { yaml });
    await services.run('prepareInbox', { inbox: services.inbox });
    const tree = new MovingTree(root, services, options.repositories, options.random);
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
    const path = `${repository}:${tag}`;
    content.writeLayout(dropPath(this.root, path), [{ image: root }]);
    await this.#move(repository, [tag], root.digest, () => deliver(this.services, path));
    return `${path} ${what}`;
  }

  async #edit(repository: string, edit: Edit, tags: readonly string[]): Promise<string> {
    const policy = resolveRepository(this.services.settings, parseRepositoryName(repository));
    await this.#move(repository, tags, undefined, () =>
      editRepository(publishContext(this.services), policy, edit),
    );
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
    const docker = digest && this.#conversions(repository)[digest];
    for (const tag of tags) {
      const now = this.#now(repository, tag);
      if (now && digest && docker) now.digests = [digest, docker];
    }
  }

  /** What each original is to clients that know no OCI. */
  #conversions(repository: string): Record<string, string | null> {
    const path = join(this.published, 'web', repository, '.snapshot.json');
    return JSON.parse(readFileSync(path, 'utf8')).conversions;
  }

  get published(): string {
    return join(this.root, 'published');
  }
}
