/**
 * A clock for elapsed time that is independent of the wall clock: the kernel's `CLOCK_MONOTONIC`, which all
 * processes of one kernel share. It stops while the host is suspended.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import type { ClockReading } from '../repository/elapsed.js';
import { bootId, UNKNOWN_KERNEL } from './owner.js';

/** In a time namespace a process has a clock with an offset to the kernel's. */
const TIME_NAMESPACE = '/proc/self/ns/time';
/** The initial time namespace (`PROC_TIME_INIT_INO`). */
const FIRST_NAMESPACE = 'time:[4026531834]';

/** Reads the clock. Readings with the same id are comparable, also between processes. */
export function readClock(): ClockReading {
  knownId ??= clockId();
  return { id: knownId, ms: Math.floor(Number(process.hrtime.bigint() / 1000n)) / 1000 };
}

let knownId: string | undefined;

function clockId(): string {
  const kernel = bootId();
  // Without an id of the kernel, readings are comparable only within this process.
  if (kernel === UNKNOWN_KERNEL) return `process-${randomBytes(8).toString('hex')}`;
  const namespace = timeNamespace();
  return namespace === undefined ? kernel : `${kernel}-${namespace}`;
}

function timeNamespace(): string | undefined {
  try {
    const name = fs.readlinkSync(TIME_NAMESPACE);
    return name === FIRST_NAMESPACE ? undefined : name;
  } catch {
    // Kernels before 5.6 have no time namespaces.
    return undefined;
  }
}
