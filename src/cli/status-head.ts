/** The first lines of `dropdock status`: which tree, which daemons, where clients pull. Pure. */
import { dirname, join } from 'node:path';
import type { AboutDaemon } from '../daemon/inbox-status-writer.js';
import { formatTable } from './command-context.js';
import type { CommandLine } from './command-line.js';

/** The directories of the tree. */
export interface TreeReport {
  readonly inbox: string;
  readonly published: string;
  readonly state: string;
  /** False if there is no such tree. */
  readonly exists: boolean;
}

/** A running daemon; the fields of `AboutDaemon` are absent for an earlier version. */
export interface DaemonReport extends Partial<AboutDaemon> {
  readonly pid: number;
  readonly owner: string;
  /** Milliseconds since the epoch, of its last write. */
  readonly at: number;
}

export interface Head {
  readonly tree: TreeReport;
  readonly daemons: readonly DaemonReport[];
}

export function headText({ tree, daemons }: Head, commandLine: CommandLine): string {
  const none = `No daemon is running on this tree; start it with: ${commandLine('run')}`;
  const rows = [
    ...treeRows(tree),
    ...(daemons.length === 0 ? [['daemon', none]] : daemons.flatMap(daemonRows)),
  ];
  return formatTable(rows);
}

function treeRows({ inbox, published, state, exists }: TreeReport): string[][] {
  const parts = { inbox, published, state };
  const root = dirname(inbox);
  const isRoot = Object.entries(parts).every(([name, path]) => path === join(root, name));
  const rows = isRoot ? [['tree', root]] : Object.entries(parts);
  const absent = ['', 'Nothing is there yet. Another tree: --root DIR or --config FILE.'];
  return exists ? rows : [...rows, absent];
}

function daemonRows({ pid, version, endpoint }: DaemonReport): string[][] {
  const rows = [
    ['daemon', `${version === undefined ? '' : `version ${version}, `}running (pid ${pid})`],
  ];
  if (endpoint === undefined) return rows;
  const { urls, problems } = endpoint;
  rows.push(...urls.map((url) => ['endpoint', url]));
  for (const { address, message, hint } of problems) {
    rows.push(['endpoint', `NOT LISTENING at ${address}: ${message}`]);
    if (hint !== undefined) rows.push(['', hint]);
  }
  if (urls.length + problems.length === 0)
    rows.push(['endpoint', 'none (registry.listen is null)']);
  return rows;
}
