/** The metrics themselves: name, labels, help. docs/metrics.md says more of each. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

type Registers = Registry[];

const PUBLISH_SECONDS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const STEP_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600];

/** Of every process that answers pulls. */
export function endpointMetrics(registers: Registers) {
  const { counter, gauge, histogram } = makers(registers);
  return {
    build: gauge('dropdock_build_info', 'Which dropdock this is; always 1.', ['version']),
    ready: gauge('dropdock_ready', 'Whether /readyz answers 200 (1) or 503 (0).'),
    free: gauge(
      'dropdock_filesystem_free_bytes',
      'Bytes that may still be written to the filesystem of a place.',
      ['place'],
    ),
    size: gauge('dropdock_filesystem_size_bytes', 'Size of the filesystem of a place.', ['place']),
    requests: counter('dropdock_requests_total', 'Requests answered, by what was asked for.', [
      'route',
      'method',
      'status',
    ]),
    requestSeconds: histogram(
      'dropdock_request_seconds',
      'From a request to the end of its answer.',
      STEP_SECONDS,
      ['route'],
    ),
    sentBytes: counter('dropdock_sent_bytes_total', 'Bytes sent to clients, headers included.'),
    cut: counter('dropdock_requests_cut_total', 'Answers that a client did not wait for.'),
    warnings: counter('dropdock_warnings_total', 'Events of the levels warn and error.', ['event']),
  };
}

/** Of the daemon. */
export function publishMetrics(registers: Registers) {
  const { counter, gauge, histogram } = makers(registers);
  return {
    publishes: counter('dropdock_publishes_total', 'Drops, by what became of them.', ['result']),
    rejections: counter('dropdock_rejections_total', 'Drops refused, by error code.', ['code']),
    retries: counter('dropdock_retries_total', 'Drops to be tried again, by error code.', ['code']),
    publishSeconds: histogram(
      'dropdock_publish_seconds',
      'From the turn of a repository to the end of its publish.',
      PUBLISH_SECONDS,
    ),
    stepSeconds: histogram(
      'dropdock_step_seconds',
      'Steps of a publish; hash is one blob, or many small ones.',
      STEP_SECONDS,
      ['step'],
    ),
    lockSeconds: histogram(
      'dropdock_lock_wait_seconds',
      'Waiting for the lock of a repository.',
      STEP_SECONDS,
    ),
    hashed: counter('dropdock_hashed_bytes_total', 'Bytes of blobs that were read and hashed.'),
    flips: counter('dropdock_flips_total', 'Snapshots that became current.'),
    lastPublish: gauge(
      'dropdock_last_publish_timestamp_seconds',
      'When a drop was last published by this process.',
    ),
    waiting: gauge('dropdock_drops_waiting', 'Drops that are not published yet.', ['state']),
    oldest: gauge(
      'dropdock_oldest_drop_seconds',
      'How long the oldest of them has been there; 0 without any.',
      ['state'],
    ),
    ignored: gauge('dropdock_inbox_ignored', 'What lies in the inbox and is no drop.'),
    lastScan: gauge('dropdock_last_scan_timestamp_seconds', 'When the inbox was last looked at.'),
    repositories: gauge('dropdock_repositories', 'Repositories that are published.'),
    snapshots: gauge('dropdock_snapshots', 'Snapshots on disk.'),
    removed: counter('dropdock_snapshots_removed_total', 'Old snapshots that went.'),
    storeBytes: gauge('dropdock_store_bytes', 'Content store, at the last cleaning.'),
    storeFiles: gauge('dropdock_store_files', 'Files in it, at the last cleaning.'),
    swept: counter('dropdock_swept_bytes_total', 'Unused content that went.'),
    notices: counter('dropdock_notices_total', 'Attempts to tell somebody, by how they ended.', [
      'result',
    ]),
    noticesLeft: gauge('dropdock_notices_waiting', 'Notices that are not delivered yet.'),
    ofRepository: counter(
      'dropdock_repository_publishes_total',
      'Drops of the repositories that metrics.repositories names.',
      ['repository', 'result'],
    ),
    lastOfRepository: gauge(
      'dropdock_repository_last_publish_timestamp_seconds',
      'When a drop of such a repository was last published by this process.',
      ['repository'],
    ),
  };
}

function makers(registers: Registers) {
  return {
    counter: <Label extends string = never>(name: string, help: string, labels: Label[] = []) =>
      new Counter({ name, help, labelNames: labels, registers }),
    gauge: <Label extends string = never>(name: string, help: string, labels: Label[] = []) =>
      new Gauge({ name, help, labelNames: labels, registers }),
    histogram: <Label extends string = never>(
      name: string,
      help: string,
      buckets: number[],
      labels: Label[] = [],
    ) => new Histogram({ name, help, labelNames: labels, buckets, registers }),
  };
}
