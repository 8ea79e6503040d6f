/**
 * One line per thing that happened, made to be tailed. The only file that knows winston, and the
 * list of all events: docs/events.md describes each.
 */
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
  'drop.rejected',
  'publish.started',
  'publish.done',
  'publish.unchanged',
  'publish.retry',
  'publish.later',
  'clean.done',
  'registry.ready',
  'registry.failed',
  'registry.reloaded',
  'registry.denied',
  'registry.request',
  'registry.error',
] as const;

export type LogEvent = (typeof EVENTS)[number];
export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export type Log = (level: LogLevel, event: LogEvent, fields?: LogFields) => void;

export interface LogSettings {
  readonly level: LogLevel;
  readonly format: 'text' | 'json';
}

export interface OpenLog {
  readonly log: Log;
  /** Waits until what was logged is written, but never longer than a moment: a log disk may hang. */
  close(): Promise<void>;
}

const CLOSE_MS_MAX = 1000;

export function openLog({ level, format }: LogSettings): OpenLog {
  const line = winston.format.printf((info) => {
    const { level: infoLevel, message, fields } = info;
    const at = new Date().toISOString();
    const all = fields as LogFields;
    if (format === 'json') {
      return JSON.stringify({ time: at, level: infoLevel, event: message, ...all });
    }
    return [at, infoLevel.padEnd(5), message, formatFields(all)].join(' ').trimEnd();
  });
  const logger = winston.createLogger({
    level,
    format: line,
    transports: [new winston.transports.Console()],
  });
  return {
    log: (entryLevel, event, fields = {}) => {
      logger.log({ level: entryLevel, message: event, fields });
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
