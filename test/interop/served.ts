/**
 * One published repository of every kind, and each of the web servers on it, with the shipped
 * configurations.
 */

import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { prepareInbox } from '#src/inbox/claim.js';
import { crane } from '../support/crane-server.js';
import { DaemonProcess } from '../support/daemon-process.js';
import { deliver, dropPath } from '../support/deliver.js';
import { openTempDir } from '../support/for-everybody.js';
import { makeLayout, TestContent, type TestDescriptor } from '../support/make-image.js';
import { type TestServices, testServices } from '../support/service.js';
import { tempDir } from '../support/temp-dir.js';
import { makeRealImage } from '../support/tools.js';
import { apache, nginxAlone, nginxWithDropdock, type WebServer } from '../support/web-servers.js';

export let root: string;
let published: string;
let services: TestServices;
export let index: TestDescriptor;
export let single: TestDescriptor;
export const servers: Record<string, WebServer> = {};
export const ends: (() => Promise<unknown>)[] = [];

/** In this process, so that a tag can move many times a second. */
export async function publish(path: string, as: string): Promise<void> {
  cpSync(path, dropPath(root, as), { recursive: true });
  await deliver(services, as);
}

export async function start(): Promise<void> {
  root = openTempDir();
  published = join(root, 'published');
  servers.apache = await apache(published);
  const yaml = `redirect: {url: "${servers.apache.url}/pulp/docker/v2/{id}/"}\nregistry: {listen: "127.0.0.1:0", blobs: x-accel}\n`;
  services = await testServices(root, { yaml });
  await services.run(prepareInbox, { inbox: services.inbox });
  mkdirSync(join(services.inbox, 'team/sub'), { recursive: true });
  const endpoint = await DaemonProcess.start(root, { command: 'serve', yaml });
  servers.nginx = await nginxAlone(published);
  servers['nginx and dropdock'] = await nginxWithDropdock(published, endpoint.registry);
  const real = makeRealImage(tempDir());
  await publish(real, 'team/sub/real:1.0');
  const content = new TestContent();
  const images = ['amd64', 'arm64'].map((architecture) =>
    content.image({ layers: ['base', architecture], platform: { os: 'linux', architecture } }),
  );
  index = content.index(images);
  const attached = content.image({ subject: index, artifactType: 'application/x.sbom' });
  const layout = join(tempDir(), 'layout');
  content.writeLayout(layout, [{ image: index, tag: '1' }, { image: attached }]);
  await publish(layout, 'app');
  single = makeLayout(join(root, 'single'), { layers: ['base', 'one'], tag: '2' });
  await publish(join(root, 'single'), 'app');
  servers['Apache and Crane'] = await crane(join(published, 'app'), 50);
  ends.push(
    () => services.close(),
    () => endpoint.stop(),
    ...Object.values(servers).map(({ stop }) => stop),
  );
}
