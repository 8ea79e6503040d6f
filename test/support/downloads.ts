/** Many concurrent clients, fast or slow, and their cost to the daemon as the kernel reports it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';

/** One GET on a connection of its own, whose bytes are counted and thrown away. */
export class Download {
  bytes = 0;
  readonly socket: Socket;

  constructor(
    url: string,
    path: string,
    { reads = true, bytesPerSecond = 0 }: { reads?: boolean; bytesPerSecond?: number } = {},
  ) {
    const { hostname, port } = new URL(url);
    this.socket = connect(Number(port), hostname);
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk) => {
      this.bytes += chunk.length;
      if (bytesPerSecond === 0) return;
      this.socket.pause();
      setTimeout(() => this.socket.resume(), (1000 * chunk.length) / bytesPerSecond);
    });
    if (!reads) this.socket.pause();
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  }
}

/** Memory that belongs to a process and is in use, in MiB. */
export function residentMiB(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

/** How often a process has a file with this name open. */
export function openCount(pid: number | undefined, name: string): number {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).filter((fd) => {
    try {
      return readlinkSync(`${directory}/${fd}`).includes(name);
    } catch {
      return false;
    }
  }).length;
}
