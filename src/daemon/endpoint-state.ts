/**
 * Where the endpoint listens and why it does not: for the log, systemd's status line, `dropdock status` and
 * the first screen.
 */
import { hasErrno, isSystemError } from '../errors.js';
import type { Log, LogEvent } from '../log.js';
import type { Listen } from '../registry/server.js';
import { errorFields } from '../report.js';

export interface ListenProblem {
  /** As in the settings: `:443`, or the path of a socket. */
  readonly address: string;
  readonly code: string;
  readonly message: string;
  /** What the operator can do. */
  readonly hint?: string;
}

export interface EndpointState {
  /** Both are empty if `registry.listen` is null. */
  readonly urls: readonly string[];
  readonly problems: readonly ListenProblem[];
}

/** Returns one line for `systemctl status`. */
export function endpointText({ urls, problems }: EndpointState): string {
  const pulls = urls.length > 0 ? [`Pulls at ${urls.join(', ')}`] : [];
  const failures = problems.map(
    ({ address, message }) => `NOT LISTENING at ${address}: ${message}`,
  );
  // Failures first: systemctl cuts a long line.
  return [...failures, ...pulls].join('; ') || 'No pulls';
}

/** Ports below this one need a privilege (net.ipv4.ip_unprivileged_port_start, unless it was changed). */
const FIRST_FREE_PORT = 1024;

const ALLOW_LOW_PORTS =
  'Run "systemctl edit dropdock", add the lines [Service], AmbientCapabilities=CAP_NET_BIND_SERVICE, ' +
  'CapabilityBoundingSet=CAP_NET_BIND_SERVICE and PrivateUsers=no, then "systemctl restart dropdock" ' +
  '(PORTS BELOW 1024 in dropdock.service(8)). Or use a port above 1023.';

/** Returns an address as it is written in the settings. */
export function addressOf(where: Listen): string {
  if ('path' in where) return where.path;
  if ('fd' in where) return `socket ${where.fd} of systemd`;
  const { host = '', port } = where;
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Explains why the endpoint cannot listen at an address. */
export function explainListen(where: Listen, error: Error): ListenProblem {
  const address = addressOf(where);
  const { code, message, hint } = errorFields(error);
  const plain = { address, code, message, ...(hint && { hint }) };
  if (hasErrno(error, 'EADDRINUSE')) {
    const tool = 'path' in where ? 'ss -lxp' : 'ss -ltnp';
    return {
      ...plain,
      message: 'another process uses this address',
      hint: `Stop that process (${tool} shows it), or set another address: DROPDOCK_REGISTRY_LISTEN=127.0.0.1:5077`,
    };
  }
  if (hasErrno(error, 'EADDRNOTAVAIL')) {
    return {
      ...plain,
      message: 'this machine does not have this address',
      hint: 'Set registry.listen to an address of this machine, or to :<port> for all.',
    };
  }
  if (hasErrno(error, 'EACCES') && 'port' in where && where.port < FIRST_FREE_PORT) {
    return {
      ...plain,
      message: `the daemon may not use port ${where.port}: a port below ${FIRST_FREE_PORT} needs the capability CAP_NET_BIND_SERVICE`,
      hint: ALLOW_LOW_PORTS,
    };
  }
  if ('path' in where && isSystemError(error)) {
    return {
      ...plain,
      message: `cannot create the socket ${address}: ${message}`,
      hint: 'The directory of the socket must exist, and the user of the daemon must be able to write to it.',
    };
  }
  return plain;
}

/** Explains why the certificate or its key cannot be used. */
export function explainCertificate(where: Listen, error: Error): ListenProblem {
  const { code, message, hint } = errorFields(error);
  const plain = { address: addressOf(where), code };
  if (!isSystemError(error) || error.path === undefined) {
    return { ...plain, message, ...(hint && { hint }) };
  }
  const { path } = error;
  if (hasErrno(error, 'ENOENT')) {
    return {
      ...plain,
      message: `the certificate or key ${path} does not exist`,
      hint: 'Put the file there, or change registry.certificate and registry.key.',
    };
  }
  return {
    ...plain,
    message: `cannot read the certificate or key ${path}: ${message}`,
    hint: `The user of the daemon must be able to enter its directory and to read it. Run: chgrp dropdock ${path} && chmod g+r ${path}`,
  };
}

/** A problem that lasts is logged again after this time, so that it is not forgotten. */
export const REMIND_MS = 10 * 60_000;

/** Logs a problem that is found at each retry: when it is new, and every ten minutes while it lasts. */
export class ProblemLog {
  readonly #last = new Map<string, { readonly message: string; readonly atMs: number }>();

  constructor(
    readonly log: Log,
    readonly event: LogEvent,
    /** Monotonic clock (ms). */
    readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** @param retry when the next attempt follows: `2s` */
  tell({ address, code, message, hint }: ListenProblem, retry: string): void {
    const last = this.#last.get(address);
    const atMs = this.nowMs();
    const isSaid = last?.message === message && atMs - last.atMs < REMIND_MS;
    if (!isSaid) this.#last.set(address, { message, atMs });
    this.log(isSaid ? 'debug' : 'error', this.event, { address, code, message, hint, retry });
  }
}
