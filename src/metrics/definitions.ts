/** Definitions of the metrics: name, labels, help. docs/metrics.md describes each in detail. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

type Registers = Registry[];

const PUBLISH_SECONDS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const STEP_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600];

/** Metrics of every process that serves pulls. */
export function endpointMetrics(registers: Registers) {
  const { counter, gauge, histogram } = makers(registers);
  return {
    build: gauge('dropdock_build_info', 'Version of dropdock; always 1.', ['version']),
    ready: gauge('dropdock_ready', 'Whether /readyz answers 200 (1) or 503 (0).'),
    free: gauge('dropdock_filesystem_free_bytes', 'Free bytes on the filesystem of a place.', [
      'place',
    ]),
    size: gauge('dropdock_filesystem_size_bytes', 'Size of the filesystem of a place.', ['place']),
    requests: counter(
      'dropdock_requests_total',
      'Requests answered, by route, method and status.',
      ['route', 'method', 'status'],
    ),
    requestSeconds: histogram(
      'dropdock_request_seconds',
      'Time from a request to the end of its response.',
      STEP_SECONDS,
      ['route'],
    ),
    sentBytes: counter('dropdock_sent_bytes_total', 'Bytes sent to clients, including headers.'),
    cut: counter('dropdock_requests_cut_total', 'Responses aborted by the client.'),
    warnings: counter('dropdock_warnings_total', 'Events of the levels warn and error.', ['event']),
  };
}

/** Metrics of the daemon only. */
export function publishMetrics(registers: Registers) {
  const { counter, gauge, histogram } = makers(registers);
  return {
    publishes: counter('dropdock_publishes_total', 'Processed drops, by result.', ['result']),
    rejections: counter('dropdock_rejections_total', 'Rejected drops, by error code.', ['code']),
    retries: counter('dropdock_retries_total', 'Retried drops, by error code.', ['code']),
    publishSeconds: histogram(
      'dropdock_publish_seconds',
      'Duration of a publish, without waiting in the queue.',
      PUBLISH_SECONDS,
    ),
    stepSeconds: histogram(
      'dropdock_step_seconds',
      'Duration of the steps of a publish; hash is one blob, or many small ones.',
      STEP_SECONDS,
      ['step'],
    ),
    lockSeconds: histogram(
      'dropdock_lock_wait_seconds',
      'Time spent waiting for the lock of a repository.',
      STEP_SECONDS,
    ),
    hashed: counter('dropdock_hashed_bytes_total', 'Bytes of blobs that were read and hashed.'),
    flips: counter('dropdock_flips_total', 'Snapshots that became current.'),
    lastPublish: gauge(
      'dropdock_last_publish_timestamp_seconds',
      'Time of the last drop published by this process.',
    ),
    waiting: gauge('dropdock_drops_waiting', 'Drops that are not published yet.', ['state']),
    oldest: gauge(
      'dropdock_oldest_drop_seconds',
      'Age of the oldest drop that is not published yet; 0 if there is none.',
      ['state'],
    ),
    ignored: gauge('dropdock_inbox_ignored', 'Entries of the inbox that are not drops.'),
    left: gauge(
      'dropdock_inbox_left',
      'Published drops that dropdock may not remove from the inbox.',
    ),
    unreadable: gauge(
      'dropdock_inbox_unreadable',
      'Entries of the inbox that dropdock may not read.',
    ),
    lastScan: gauge('dropdock_last_scan_timestamp_seconds', 'Time of the last scan of the inbox.'),
    repositories: gauge('dropdock_repositories', 'Published repositories.'),
    snapshots: gauge('dropdock_snapshots', 'Snapshots on disk.'),
    removed: counter('dropdock_snapshots_removed_total', 'Old snapshots that were removed.'),
    storeBytes: gauge('dropdock_store_bytes', 'Size of the content store at the last cleaning.'),
    storeFiles: gauge('dropdock_store_files', 'Files in the content store at the last cleaning.'),
    swept: counter('dropdock_swept_bytes_total', 'Bytes of unused content that were removed.'),
    notices: counter('dropdock_notices_total', 'Attempts to send a notification, by result.', [
      'result',
    ]),
    noticesLeft: gauge('dropdock_notices_waiting', 'Notifications that are not delivered yet.'),
    ofRepository: counter(
      'dropdock_repository_publishes_total',
      'Processed drops of the repositories listed in metrics.repositories.',
      ['repository', 'result'],
    ),
    lastOfRepository: gauge(
      'dropdock_repository_last_publish_timestamp_seconds',
      'Time of the last drop of a listed repository published by this process.',
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
