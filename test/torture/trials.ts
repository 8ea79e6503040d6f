/** The long forms of the crash tests: which test files each trial runs, and what makes them long. */
export interface Trial {
  readonly files: readonly string[];
  /** What makes it long. */
  readonly environment: Readonly<Record<string, string>>;
}

export const TRIALS: Readonly<Record<string, Trial>> = {
  'power-cut': { files: ['crash/power-cut'], environment: { DROPDOCK_TEST_CUTS: 'all' } },
  edits: { files: ['crash/edits-sweep'], environment: { DROPDOCK_TEST_POINTS: 'all' } },
  publish: {
    files: ['crash/fault-sweep', 'crash/kill-sweep'],
    environment: { DROPDOCK_TEST_POINTS: 'all' },
  },
  shutdown: { files: ['crash/shutdown'], environment: { DROPDOCK_TEST_CUTS: 'all' } },
  'every-call': {
    files: ['crash/call-sweep'],
    environment: { DROPDOCK_TEST_POINTS: 'all' },
  },
  'system-calls': {
    files: ['crash/system-calls'],
    environment: { DROPDOCK_TEST_POINTS: 'all' },
  },
  'full-disk': { files: ['crash/full-disk'], environment: {} },
  publishers: { files: ['crash/publishers'], environment: { DROPDOCK_TEST_MERGES: '5000' } },
  hosts: { files: ['crash/many-daemons'], environment: { DROPDOCK_TEST_MERGES: '500' } },
  stores: {
    files: [
      'targets/object-store/concurrency',
      'targets/object-store/faults',
      'targets/object-store/cost',
    ],
    environment: {
      DROPDOCK_TEST_MERGES: '500',
      DROPDOCK_TEST_REPOSITORIES: '1000',
      DROPDOCK_TEST_POINTS: 'all',
    },
  },
  soak: { files: ['crash/soak'], environment: { DROPDOCK_TEST_SOAK: '50000' } },
  neighbours: {
    files: ['targets/directory/hostile-sweep', 'targets/directory/hostile-inbox'],
    environment: { DROPDOCK_TEST_POINTS: 'all' },
  },
  lookers: { files: ['crash/readers'], environment: { DROPDOCK_TEST_FLIPS: '10000' } },
  readers: { files: ['interop/flips'], environment: { DROPDOCK_TEST_FLIPS: '1000' } },
  'store-readers': {
    files: ['interop/object-store'],
    environment: { DROPDOCK_TEST_FLIPS: '1000' },
  },
  package: { files: ['interop/debian-package'], environment: { DROPDOCK_TEST_PACKAGE: '1' } },
  drops: { files: ['fuzz/mutated-drops'], environment: { DROPDOCK_TEST_DROPS: '20000' } },
};
