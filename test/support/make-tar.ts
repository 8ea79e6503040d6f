/** Tars built in code, including hostile ones. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface TarMember {
  readonly path: string;
  readonly body?: Buffer | string;
  /** '0' file, '1' hard link, '2' symlink, '3' device, '5' directory, '6' FIFO, 'x' pax */
  readonly type?: string;
  readonly link?: string;
  /** What the header says, when it lies about the body. */
  readonly size?: number;
}

export function makeTar(members: readonly TarMember[], { endMark = true } = {}): Buffer {
  const blocks = members.flatMap((member) => {
    const body = Buffer.from(member.body ?? '');
    const padding = Buffer.alloc((512 - (body.length % 512)) % 512);
    return [tarHeader(member, member.size ?? body.length), body, padding];
  });
  return Buffer.concat([...blocks, Buffer.alloc(endMark ? 1024 : 0)]);
}

function tarHeader({ path, type = '0', link = '' }: TarMember, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(path, 0, 100);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(type, 156);
  header.write(link, 157, 100);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** The files below a directory, as `tar c -C directory .` would take them. */
export function tarMembers(directory: string, below = ''): TarMember[] {
  return readdirSync(join(directory, below), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry): TarMember[] => {
      const path = join(below, entry.name);
      if (entry.isDirectory()) return tarMembers(directory, path);
      return [{ path, body: readFileSync(join(directory, path)) }];
    });
}

/** What `docker save` wrote before version 25. */
export function dockerSaveMembers(
  images: readonly { names: string[]; layers: string[] }[],
  sha256: (bytes: Buffer) => string,
): TarMember[] {
  const members: TarMember[] = [];
  const manifest = images.map(({ names, layers }) => {
    const bodies = layers.map((text) => makeTar([{ path: text, body: text }]));
    const diffIds = bodies.map(sha256);
    const config = Buffer.from(
      JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: diffIds } }),
    );
    const configName = `${sha256(config).slice(7)}.json`;
    members.push({ path: configName, body: config });
    const paths = bodies.map((body, at) => {
      const path = `${diffIds[at]?.slice(7)}/layer.tar`;
      members.push({ path, body });
      return path;
    });
    return { Config: configName, RepoTags: names, Layers: paths };
  });
  return [...members, { path: 'manifest.json', body: JSON.stringify(manifest) }];
}

/** An image of a docker-archive whose every part is as the test wants it. */
export interface SavedTestImage {
  readonly names?: readonly string[] | null;
  /** The layers as they lie in the archive; without a path each has one of its own. */
  readonly layers: readonly { readonly body: Buffer; readonly path?: string }[];
  /** What the config says of them; undefined for a config that says nothing. */
  readonly diffIds: readonly string[] | undefined;
}

/** What kaniko, crane and jib write: flat, layers by their own digests. */
export function savedMembers(
  images: readonly SavedTestImage[],
  sha256: (bytes: Buffer) => string,
): TarMember[] {
  const members = new Map<string, Buffer>();
  const manifest = images.map(({ names = null, layers, diffIds }) => {
    const rootfs = diffIds && { rootfs: { type: 'layers', diff_ids: diffIds } };
    const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', ...rootfs }));
    const Config = sha256(config);
    members.set(Config, config);
    const Layers = layers.map(({ body, path = `${sha256(body).slice(7)}.tar.gz` }) => {
      members.set(path, body);
      return path;
    });
    return { Config, RepoTags: names, Layers };
  });
  members.set('manifest.json', Buffer.from(JSON.stringify(manifest)));
  return [...members].map(([path, body]) => ({ path, body }));
}
