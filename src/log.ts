/**
 * One line per thing that happened, made to be tailed. The only file that knows winston, and the
 * list of all events: docs/events.md describes each.
 */
import { Writable } from 'node:stream';
import winston from 'winston';

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
  'drop.gone',
  'drop.rejected',
  'publish.started',
  'publish.target',
  'publish.done',
  'publish.unchanged',
  'publish.left-out',
  'publish.retry',
  'publish.waiting',
  'publish.later',
  'clean.done',
  'target.ready',
  'target.failed',
  'registry.ready',
  'registry.failed',
  'registry.reloaded',
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
  /** Takes each line, with its line end, in place of standard output. Must not throw. */
  readonly write?: (line: string) => void;
  /** Lines go to journald: each begins with its priority, and none with the time, which is there. */
  readonly isJournal?: boolean;
}

export interface OpenLog {
  readonly log: Log;
  /** Level and format from now on. */
  configure(settings: LogSettings): void;
  /** Waits until what was logged is written, but never longer than a moment: a log disk may hang. */
  close(): Promise<void>;
}

const CLOSE_MS_MAX = 1000;

/** sd-daemon(3): `<6>` at a line's beginning is its priority. */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

export function openLog(initial: LogSettings, { write, isJournal = false }: LogSink = {}): OpenLog {
  let { format } = initial;
  const line = winston.format.printf(({ level, message, fields }) => {
    const priority = isJournal ? `<${PRIORITIES[level as LogLevel]}>` : '';
    const at = new Date().toISOString();
    const all = fields as LogFields;
    if (format === 'json') {
      return priority + JSON.stringify({ time: at, level, event: message, ...all });
    }
    const time = isJournal ? priority : `${at} `;
    return `${time}${level.padEnd(5)} ${[message, formatFields(all)].join(' ').trimEnd()}`;
  });
  const logger = winston.createLogger({
    level: initial.level,
    format: line,
    transports: [write ? toSink(write) : new winston.transports.Console()],
  });
  return {
    log: (level, event, fields = {}) => {
      logger.log({ level, message: event, fields });
    },
    configure: (next) => {
      logger.level = next.level;
      format = next.format;
    },
    close: () =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, CLOSE_MS_MAX);
        logger.on('finish', () => {
          clearTimeout(timer);
          resolve();
        });
        logger.end();
      }),
  };
}

function toSink(write: (line: string) => void): winston.transport {
  const stream = new Writable({
    decodeStrings: false,
    write: (line, _encoding, done) => {
      write(String(line));
      done();
    },
  });
  return new winston.transports.Stream({ stream, eol: '\n' });
}

/** `key=value`, quoted where a value holds a space, a quote, an equals sign or a control character. */
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
