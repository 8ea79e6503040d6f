/**
 * The table of jobs: for each job its name, the pool that runs it and the module that a worker loads
 * for it. A module is loaded when its first job comes: a thread that only hashes, or only scans the
 * inbox, is there in a quarter of the time and of the memory (19 against 157 ms of CPU, 4 against
 * 23 MiB, measured). So nothing but types may be imported here.
 */
import type { AccessJobs } from '../auth/auth-jobs.js';
import type { InboxJobs } from '../inbox/inbox-jobs.js';
import type { NotifyJobs } from '../notify/queue.js';
import type { PublishJobs } from '../targets/directory/directory-jobs.js';
import type { ObjectJobs } from '../targets/object-store/store-jobs.js';

/**
 * Jobs of one pool do not wait for those of another.
 *
 * - `fast`: short, and a drop or a request waits for it. A flip must not queue behind 50 GB to hash.
 * - `hash`: reads, hashes and unpacks content.
 * - `background`: takes long, and a publish does not wait for it.
 */
export type PoolName = 'fast' | 'hash' | 'background';

export type Jobs = AccessJobs &
  InboxJobs &
  NotifyJobs &
  ObjectJobs &
  PublishJobs & {
    readonly scan: typeof import('../inbox/scan-job.js').scan;
    readonly findLeftovers: typeof import('../staging/leftovers.js').findLeftovers;
    readonly claimBatch: typeof import('../staging/claim-batch.js').claimBatch;
    readonly stage: typeof import('../staging/stage.js').stage;
    readonly settleFlip: typeof import('../staging/flip-notice.js').settleFlip;
  };

export type JobName = keyof Jobs & string;

export interface JobEntry<Name extends JobName> {
  readonly pool: PoolName;
  readonly load: () => Promise<Pick<Jobs, Name>>;
}

const access = async () => (await import('../auth/auth-jobs.js')).accessJobs;
const browse = async () => (await import('../targets/directory/browse.js')).browseJobs;
const inbox = async () => (await import('../inbox/inbox-jobs.js')).inboxJobs;
const mend = () => import('../targets/directory/recover.js');
const notify = async () => (await import('../notify/queue.js')).notifyJobs;
const objects = async () => (await import('../targets/object-store/store-jobs.js')).objectJobs;
const publish = async () => (await import('../targets/directory/directory-jobs.js')).publishJobs;
const stage = () => import('../staging/stage.js');

type JobEntries = { readonly [Name in JobName]: JobEntry<Name> };

/** Every job of the types above must stand here; otherwise it does not compile. */
const TABLE = {
  // The inbox
  prepareInbox: { pool: 'fast', load: inbox },
  scan: { pool: 'fast', load: () => import('../inbox/scan-job.js') },
  findLeftovers: { pool: 'fast', load: () => import('../staging/leftovers.js') },
  whatForbids: { pool: 'fast', load: inbox },
  claimBatch: { pool: 'fast', load: () => import('../staging/claim-batch.js') },
  claimKind: { pool: 'fast', load: inbox },
  listClaims: { pool: 'fast', load: inbox },
  returnClaim: { pool: 'fast', load: inbox },
  takeOverClaims: { pool: 'fast', load: inbox },
  letGoPublished: { pool: 'fast', load: inbox },
  letGoTogether: { pool: 'fast', load: inbox },
  letGoRejected: { pool: 'fast', load: inbox },
  deleteRetired: { pool: 'background', load: inbox },
  listRejected: { pool: 'background', load: inbox },
  dropBytes: { pool: 'background', load: inbox },

  // From the lock to the end of a publish
  prepareTree: { pool: 'fast', load: () => import('../storage/prepare-tree.js') },
  begin: { pool: 'fast', load: publish },
  end: { pool: 'fast', load: publish },
  // An archive is read, hashed and perhaps unpacked in one go.
  stage: { pool: 'hash', load: stage },
  ingest: { pool: 'hash', load: async () => ({ ingest: await ingestRequest() }) },
  checkSpace: { pool: 'fast', load: () => import('../storage/space.js') },
  buildSnapshot: { pool: 'fast', load: publish },
  checkDrop: { pool: 'fast', load: publish },
  currentSnapshot: { pool: 'fast', load: publish },
  flip: { pool: 'fast', load: publish },
  afterFlip: { pool: 'fast', load: publish },
  withdraw: { pool: 'fast', load: publish },
  clean: { pool: 'fast', load: publish },
  cleanAndEnd: { pool: 'fast', load: publish },
  rememberElsewhere: { pool: 'fast', load: publish },
  readPivot: { pool: 'fast', load: publish },

  // Recovery and upkeep
  mend: { pool: 'fast', load: publish },
  findBroken: { pool: 'fast', load: mend },
  trashAbandonedWork: { pool: 'fast', load: mend },
  listRepositories: { pool: 'fast', load: mend },
  workOwners: { pool: 'fast', load: () => import('../storage/transaction.js') },
  planClean: { pool: 'fast', load: publish },
  carriedBy: { pool: 'background', load: publish },
  sweep: { pool: 'background', load: publish },
  planSweep: { pool: 'background', load: publish },
  emptyTrash: { pool: 'background', load: () => import('../storage/trash.js') },
  makeSpareTree: { pool: 'background', load: () => import('../targets/directory/spare-tree.js') },
  discardSpareTrees: {
    pool: 'background',
    load: () => import('../targets/directory/spare-tree.js'),
  },
  verifyLinks: { pool: 'background', load: publish },
  verifyRepository: { pool: 'background', load: publish },
  repairRepository: { pool: 'background', load: publish },
  verifyContent: { pool: 'background', load: publish },
  verifyTrash: { pool: 'background', load: publish },
  census: { pool: 'background', load: publish },

  // For people: status, history, the page
  writeBoard: { pool: 'fast', load: publish },
  readBoards: { pool: 'fast', load: publish },
  removeBoards: { pool: 'fast', load: publish },
  repositoryOverview: { pool: 'fast', load: publish },
  repositoryContents: { pool: 'fast', load: publish },
  repositoryHistory: { pool: 'fast', load: publish },
  snapshotFacts: { pool: 'background', load: browse },
  snapshotSummary: { pool: 'background', load: browse },
  snapshotChanges: { pool: 'background', load: browse },

  // Notifications
  settleFlip: { pool: 'fast', load: () => import('../staging/flip-notice.js') },
  prepareSpool: { pool: 'fast', load: notify },
  noteFlip: { pool: 'fast', load: notify },
  forgetFlip: { pool: 'fast', load: notify },
  listFlipNotes: { pool: 'fast', load: notify },
  spoolNotice: { pool: 'fast', load: notify },
  listNotices: { pool: 'fast', load: notify },
  readNotice: { pool: 'fast', load: notify },
  removeNotice: { pool: 'fast', load: notify },
  dropStrangers: { pool: 'fast', load: notify },

  // Object stores
  buildObjects: { pool: 'fast', load: objects },
  storeBytes: { pool: 'fast', load: objects },
  readLocalText: { pool: 'fast', load: publish },
  restageNeeds: { pool: 'fast', load: publish },
  restage: { pool: 'fast', load: publish },
  redirectOf: { pool: 'fast', load: objects },
  recordsOf: { pool: 'fast', load: objects },
  checkStoreDrop: { pool: 'fast', load: objects },
  tagsOf: { pool: 'fast', load: objects },
  isEarlier: { pool: 'fast', load: objects },
  objectsOf: { pool: 'fast', load: objects },

  // Access to the endpoint
  checkPassword: { pool: 'background', load: access },
  makeTokenKey: { pool: 'fast', load: access },
} satisfies JobEntries;

export const JOBS: JobEntries = TABLE;

async function ingestRequest() {
  return (await import('../storage/into-store.js')).ingestRequest;
}

export async function loadJob<Name extends JobName>(name: Name): Promise<Jobs[Name]> {
  const module = await JOBS[name].load();
  return module[name];
}
