/**
 * The clock that says how much time has passed, whatever the wall clock is set to: the kernel's
 * `CLOCK_MONOTONIC`, which all processes of one kernel share. It stands still while the machine sleeps.
 */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import type { ClockReading } from '../repository/elapsed.js';
import { bootId, UNKNOWN_KERNEL } from './owner.js';

/** A process can have a clock of its own that runs beside the kernel's: a time namespace. */
const TIME_NAMESPACE = '/proc/self/ns/time';
/** The kernel's own (`PROC_TIME_INIT_INO`). */
const FIRST_NAMESPACE = 'time:[4026531834]';

/** Reads the clock. Readings with the same id can be compared, whichever process made them. */
export function readClock(): ClockReading {
  knownId ??= clockId();
  return { id: knownId, ms: Math.floor(Number(process.hrtime.bigint() / 1000n)) / 1000 };
}

let knownId: string | undefined;

function clockId(): string {
  const kernel = bootId();
  // Where the kernel cannot be told from others, nothing but this process's own readings counts.
  if (kernel === UNKNOWN_KERNEL) return `process-${randomBytes(8).toString('hex')}`;
  const namespace = timeNamespace();
  return namespace === undefined ? kernel : `${kernel}-${namespace}`;
}

function timeNamespace(): string | undefined {
  try {
    const name = fs.readlinkSync(TIME_NAMESPACE);
    return name === FIRST_NAMESPACE ? undefined : name;
  } catch {
    // A kernel before 5.6 has none.
    return undefined;
  }
}
