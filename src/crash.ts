/**
 * Handles errors of work that no caller waits for. Without a handler Node would end the process without a log
 * line, and with the exit code of a refused drop.
 */

/**
 * Error handler for detached work that handles all expected errors itself: `work().catch(crash)`. What
 * arrives here is a bug. It is thrown outside of promises, so that it ends the process (main.ts logs
 * `daemon.failed` and exits with the code for bugs; systemd restarts the daemon) or the worker thread, whose
 * job is then retried.
 */
export function crash(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
