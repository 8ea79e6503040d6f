/**
 * Where a failure goes that nobody waits for. A promise without a handler would end the process in Node's
 * own way: without a line in the log, and with the exit code of a drop that was refused.
 */

/**
 * The handler of work that runs by itself and handles every failure it knows of: `work().catch(crash)`.
 * What still arrives here is a bug. It is thrown outside of any promise, so it ends the process on purpose
 * (main.ts logs `daemon.failed` and exits with the code of bugs; systemd starts the daemon again), or it ends
 * a worker thread, whose job is then tried again.
 */
export function crash(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
