/** Publishes one large image with a daemon that has none of its content. */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { command, type Spent } from './command.js';
import { Daemon, spentText } from './daemon.js';
import { ownFreeMemory } from './free-memory.js';
import { type Layer, totalBytes } from './layers.js';
import { image, writeLayout } from './layout.js';
import type { Context } from './question.js';

export class BulkRounds {
  #spent: Spent = { userS: 0, systemS: 0 };
  #times = 0;

  /**
   * @param how 'moved': the layers are linked into the store; 'linked': they have other names, so they are
   * copied
   */
  constructor(
    readonly context: Context,
    readonly layers: readonly Layer[],
    readonly how: 'moved' | 'linked',
  ) {}

  get spent(): string {
    return spentText(this.#spent, this.#times);
  }

  /** @returns seconds from the rename into the inbox until the image is visible */
  async run(): Promise<number> {
    const root = join(this.context.directory, 'bulk');
    const drop = join(this.context.directory, 'bulk-drop');
    const dropped = image(this.layers, 'bulk');
    mkdirSync(root);
    writeLayout(drop, [{ image: dropped, tag: '1.0' }], { layers: this.how });
    await command('sync', '-f', drop);
    const daemon = await Daemon.start(this.context, root);
    await daemon.warm();
    if (this.how === 'linked') await ownFreeMemory(this.context.directory, totalBytes(this.layers));
    const took = await daemon.measured(async () => {
      const begin = performance.now();
      renameSync(drop, join(daemon.inbox, 'app:1.0'));
      return ((await daemon.web.moved('app', undefined)) - begin) / 1000;
    });
    await daemon.idle();
    await daemon.check('app', '1.0', dropped.manifest.digest);
    await daemon.stop();
    this.#note(daemon);
    for (const layer of this.layers) {
      // Also proves that the layer was linked: a copy would have removed it from the drop.
      if (this.how === 'moved') renameSync(daemon.stored(layer.digest), layer.path);
    }
    rmSync(root, { recursive: true });
    await command('sync', '-f', this.context.directory);
    return took;
  }

  #note({ spent }: Daemon): void {
    this.#times++;
    this.#spent = {
      userS: this.#spent.userS + spent.userS,
      systemS: this.#spent.systemS + spent.systemS,
    };
  }
}
