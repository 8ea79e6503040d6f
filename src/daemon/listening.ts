/** Listens at the addresses of the endpoint, and tries again where that fails. */
import { crash } from '../crash.js';
import { isSystemError } from '../errors.js';
import type { Log } from '../log.js';
import type { Certificate, CertificateWatch } from '../registry/certificate.js';
import type { Listen, RegistryServer } from '../registry/server.js';
import {
  type EndpointState,
  explainCertificate,
  explainListen,
  type ListenProblem,
  ProblemLog,
} from './endpoint-state.js';

export interface ListeningOptions {
  readonly places: readonly Listen[];
  readonly certificate: Pick<CertificateWatch, 'read'> | undefined;
  readonly makeServer: (certificate: Certificate | undefined) => RegistryServer;
  readonly log: Log;
  /** Called when it begins to listen at an address, and when the reason why it does not changes. */
  readonly onChange?: ((state: EndpointState) => void) | undefined;
}

const LISTEN_AGAIN_MS = 2000;

interface Failure {
  readonly problem: ListenProblem;
  readonly error: Error;
}

export class Listening {
  readonly #servers = new Map<Listen, RegistryServer>();
  readonly #problems = new Map<Listen, ListenProblem>();
  readonly #problemLog: ProblemLog;
  #timer: NodeJS.Timeout | undefined;

  constructor(readonly options: ListeningOptions) {
    this.#problemLog = new ProblemLog(options.log, 'registry.failed');
  }

  get servers(): RegistryServer[] {
    return [...this.#servers.values()];
  }

  get state(): EndpointState {
    const urls = this.servers.map(({ url }) => url);
    return { urls, problems: [...this.#problems.values()] };
  }

  /**
   * @param whenBusy `retry`: tries again until it listens everywhere
   * @throws with `throw`, the first error
   */
  async start(whenBusy: 'retry' | 'throw'): Promise<void> {
    const { places, log, onChange } = this.options;
    for (const where of places) {
      if (this.#servers.has(where)) continue;
      const before = this.#problems.get(where)?.message;
      const failure = await this.#listen(where);
      if (failure === undefined) {
        this.#problems.delete(where);
        log('info', 'registry.ready', { url: this.#servers.get(where)?.url });
      } else {
        if (whenBusy === 'throw') throw explained(failure);
        this.#problems.set(where, failure.problem);
        this.#problemLog.tell(failure.problem, `${LISTEN_AGAIN_MS / 1000}s`);
      }
      if (failure === undefined || failure.problem.message !== before) onChange?.(this.state);
    }
    if (this.#servers.size === places.length) return;
    this.#timer = setTimeout(() => {
      this.start('retry').catch(crash);
    }, LISTEN_AGAIN_MS).unref();
  }

  async #listen(where: Listen): Promise<Failure | undefined> {
    let certificate: Certificate | undefined;
    try {
      certificate = await this.options.certificate?.read();
    } catch (error) {
      return { problem: explainCertificate(where, error as Error), error: error as Error };
    }
    try {
      const server = this.options.makeServer(certificate);
      await server.listen(where);
      this.#servers.set(where, server);
      return undefined;
    } catch (error) {
      return { problem: explainListen(where, error as Error), error: error as Error };
    }
  }

  /** Stops trying, and closes all servers; running requests have `waitMs` to finish. */
  async close(waitMs: number): Promise<void> {
    clearTimeout(this.#timer);
    await Promise.all(this.servers.map((server) => server.close(waitMs)));
  }
}

/** Returns the error of a command: it has the explanation as its message, and keeps its code. */
function explained({ problem: { address, message, hint = '' }, error }: Failure): Error {
  if (!isSystemError(error) || error.syscall !== 'listen') return error;
  const text = `cannot listen at ${address}: ${message}. ${hint}`.trimEnd();
  const { code, syscall } = error;
  return Object.assign(new Error(text, { cause: error }), { code, syscall });
}
