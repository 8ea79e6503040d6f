/** Which step of a publish a job belongs to, and how many bytes it has hashed. Pure. */

/** Jobs that tell of no step (a listing, a look at a link) are left out. */
const JOB_STEPS: Readonly<Record<string, string>> = {
  scan: 'scan',
  mend: 'mend',
  openTurn: 'mend',
  stage: 'read',
  stageTogether: 'read',
  ingest: 'hash',
  build: 'build',
  buildEdit: 'build',
  flip: 'flip',
  afterFlip: 'link',
  letGoPublished: 'receipt',
  letGoTogether: 'receipt',
  letGoRejected: 'receipt',
  clean: 'clean',
  cleanAndEnd: 'clean',
  emptyTrash: 'delete',
  sweep: 'sweep',
};

/** @returns each step that a job took, and how long (ms); jobs of several steps tell it themselves */
export function stepsOf(job: string, result: unknown, tookMs: number): [string, number][] {
  const step = JOB_STEPS[job];
  if (step !== undefined) return [[step, tookMs]];
  const { steps = {}, answers = [] } = (result ?? {}) as Told;
  return [...Object.entries(steps), ...answers.flatMap((each) => stepsOf('', each, 0))];
}

/** What jobs tell of their steps: of their own, or of each of several drops. */
interface Told {
  readonly steps?: Readonly<Record<string, number>>;
  readonly answers?: readonly Told[];
}

interface Staged {
  readonly content: {
    readonly blobs: readonly { digest: string; size: number; source: unknown }[];
  };
  readonly blobs: readonly { readonly digest: string }[];
}

/**
 * Each blob is hashed once: by a job of its own, or while the archive that holds it is unpacked.
 * Manifests are small and not counted.
 */
export function hashedBytes(job: string, request: unknown, result: unknown): number {
  if (job === 'ingest') {
    const { blobs } = request as { readonly blobs: readonly { readonly size: number }[] };
    return blobs.reduce((sum, { size }) => sum + size, 0);
  }
  if (job === 'stage') return hashedBy(result as Staged);
  if (job === 'takeTogether') {
    const { answers } = result as { answers: readonly { early?: Pick<Staged, 'content'> }[] };
    return answers.reduce((sum, { early }) => sum + (early ? hashedBy(early) : 0), 0);
  }
  const together = job === 'readAndBuild' ? (result as { read: unknown }).read : result;
  if (job !== 'stageTogether' && job !== 'readAndBuild') return 0;
  return (together as readonly (Staged | object | null)[])
    .filter((each): each is Staged => each !== null && 'content' in each)
    .reduce((sum, each) => sum + hashedBy(each), 0);
}

function hashedBy({ content, blobs = [] }: Pick<Staged, 'content'> & Partial<Staged>): number {
  const byJobs = new Set(blobs.map(({ digest }) => digest));
  return content.blobs
    .filter(({ digest, source }) => source !== 'published' && !byJobs.has(digest))
    .reduce((sum, { size }) => sum + size, 0);
}
