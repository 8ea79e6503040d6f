/**
 * The log: one line per event, as `key=value` text or as JSON. The only file that imports winston. Contains
 * the list of all events; docs/events.md describes each.
 */
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import winston from 'winston';

/** Where winston keeps the formatted line (triple-beam's `MESSAGE`). */
const MESSAGE = Symbol.for('message');

export const EVENTS = [
  'daemon.starting',
  'daemon.ready',
  'daemon.stopping',
  'daemon.stopped',
  'daemon.recovered',
  'daemon.warning',
  'daemon.failed',
  'drop.seen',
  'drop.waiting',
  'drop.claimed',
  'drop.ignored',
  'drop.left',
  'drop.unreadable',
  'drop.gone',
  'drop.rejected',
  'publish.started',
  'publish.target',
  'publish.done',
  'publish.unchanged',
  'publish.left-out',
  'publish.warning',
  'publish.retry',
  'publish.waiting',
  'publish.later',
  'command.done',
  'clean.done',
  'target.ready',
  'target.failed',
  'registry.ready',
  'registry.failed',
  'registry.reloaded',
  'registry.public',
  'registry.denied',
  'registry.tokens',
  'registry.request',
  'registry.error',
  'registry.away',
  'registry.back',
  'settings.reloaded',
  'settings.refused',
  'log.failed',
  'log.resumed',
  'metrics.ready',
  'metrics.failed',
  'notify.sent',
  'notify.failed',
  'notify.dropped',
  'notify.waiting',
] as const;

export type LogEvent = (typeof EVENTS)[number];
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export type Log = (level: LogLevel, event: LogEvent, fields?: LogFields) => void;

export interface LogSettings {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
}

export interface LogSink {
  /** Destination instead of standard output. It must not wait or fail. */
  readonly stream?: Writable | undefined;
  /** For journald: each line begins with its priority, and text lines have no time, which the journal adds. */
  readonly isJournal?: boolean;
}

export interface OpenLog {
  readonly log: Log;
  /** Changes level and format. */
  configure(settings: LogSettings): void;
  /**
   * Waits until all lines are written, at most a second, because a log disk may hang. Later lines are
   * discarded.
   */
  close(): Promise<void>;
}

const CLOSE_MS_MAX = 1000;

/** Syslog numbers, as used by sd-daemon(3): `<6>` at the beginning of a line. */
const LEVELS: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

const { combine, printf, timestamp } = winston.format;

const text = printf(({ timestamp: time, level, message, fields }) =>
  [time, level.padEnd(5), message, formatFields(fields as LogFields)].filter(Boolean).join(' '),
);

const json = printf(({ timestamp: time, level, message: event, fields }) =>
  JSON.stringify({ time, level, event, ...(fields as LogFields) }),
);

const priority = winston.format((info) => {
  info[MESSAGE] = `<${LEVELS[info.level as LogLevel]}>${info[MESSAGE]}`;
  return info;
});

function lineFormat({ format }: LogSettings, isJournal: boolean): winston.Logform.Format {
  if (format === 'json') return combine(timestamp(), json, ...(isJournal ? [priority()] : []));
  return isJournal ? combine(text, priority()) : combine(timestamp(), text);
}

export function openLog(
  settings: LogSettings,
  { stream, isJournal = false }: LogSink = {},
): OpenLog {
  const { Console, Stream } = winston.transports;
  const logger = winston.createLogger({
    levels: LEVELS,
    level: settings.level,
    format: lineFormat(settings, isJournal),
    transports: [stream ? new Stream({ stream, eol: '\n' }) : new Console()],
  });
  return {
    log: (level, event, fields = {}) => {
      logger.log({ level, message: event, fields });
    },
    configure: (next) => {
      logger.level = next.level;
      logger.format = lineFormat(next, isJournal);
    },
    close: async () => {
      const signal = AbortSignal.timeout(CLOSE_MS_MAX);
      // "write after end", for lines after the close.
      logger.on('error', () => {});
      try {
        await finished(logger.end(), { readable: false, signal });
        if (stream) await finished(stream.end(), { signal });
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
  };
}

/** Formats as `key=value`. Values with a space, quote, equals sign or control character are quoted. */
export function formatFields(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => {
      const text = String(value);
      const plain = text !== '' && !/[\s"=\\\p{Cc}]/u.test(text);
      return `${key}=${plain ? text : JSON.stringify(text)}`;
    })
    .join(' ');
}
